"""Records of trials: results/<slug>.json, with all that is needed to show and to run them again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pretrial.compare.judging import judge
from pretrial.compare.numbers import rounded
from pretrial.compare.trial import Claim
from pretrial.errors import UserError
from pretrial.files import write_whole

SCHEMA_VERSION = 2
CURVE_POINTS = 60
# What differs between two runs of the same trial at the same commit on the same machine.
_CLOCK = ("wall_seconds", "seconds", "minutes", "command", "commits", "provisional")

Record = dict[str, Any]


def merge_curves(curves: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Curves of several seeds on one axis, thinned: {"x": [points], "y": [seeds][points]}.

    The axis is the one of the shortest curve, so nothing is extrapolated.
    """
    shortest = min(curves, key=lambda curve: curve["x"][-1])["x"]
    index = np.unique(np.linspace(0, len(shortest) - 1, min(CURVE_POINTS, len(shortest))).round())
    x = np.asarray(shortest, dtype=np.float64)[index.astype(int)]
    return {
        "x": [rounded(float(v)) for v in x],
        "y": [[rounded(float(v)) for v in np.interp(x, c["x"], c["y"])] for c in curves],
    }


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a record."""
    text = (resources.files("pretrial.compare") / "record.schema.json").read_text("utf-8")
    return json.loads(text)


def check(record: Any, name: str = "the record") -> None:
    """Checks a record against the schema.

    Raises:
        UserError: it does not fit; it names the place.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    error = next(iter(sorted(validator.iter_errors(record), key=lambda e: len(e.path))), None)
    if error is not None:
        place = "/".join(str(part) for part in error.path) or "its top level"
        raise UserError(f"{name} is not a record of a trial: at {place}, {error.message[:200]}")


def upgraded(record: Any) -> Any:
    """A record of the first schema as one of this: its claims are judged anew, by today's rules.

    Such records state no smallest useful difference and had no gate and no looks.
    """
    if not isinstance(record, dict) or record.get("schema") != 1:
        return record
    try:
        seeds = record["setting"]["seeds"]
        arms = [{**arm, "seeds": seeds} for arm in record["arms"]]
        named = ("arm", "baseline", "metric", "expect")
        claims = judge(
            arms, [Claim(*(claim[name] for name in named)) for claim in record["claims"]]
        )
    except (KeyError, TypeError, IndexError):
        return record  # `check` says what is wrong with it
    return {
        **record,
        "schema": SCHEMA_VERSION,
        "arms": arms,
        "claims": claims,
        "verdict": claims[0]["verdict"] if claims else "undecided",
        "useful": {"value": 0.0, "share": None},
        **dict.fromkeys(("gate", "premise", "tuning", "next")),
        "looks": [],
        "groups": {},
        "provisional": any(name.endswith("+") for name in record["commits"]),
        "code": "",
    }


def read(path: Path) -> Record:
    """Reads and checks one record, also one of an older schema.

    Raises:
        UserError: no such file, not JSON, or not a record.
    """
    record = upgraded(_json(Path(path)))
    check(record, str(path))
    return record


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no record {path}: `pretrial trial SLUG` writes one") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): take it away or write it anew") from None


def read_all(folder: Path) -> list[Record]:
    """All trial records of a folder, by slug; other JSON files in it are passed over."""
    found = []
    for path in sorted(Path(folder).glob("*.json"), key=lambda path: path.stem):
        value = _json(path)
        if isinstance(value, dict) and value.get("kind") in ("trial", "comparison"):
            value = upgraded(value)
            check(value, str(path))
            found.append(value)
    return found


def write(record: Record, folder: Path) -> Path:
    """Writes a record as <folder>/<slug>.json, whole or not at all."""
    check(record)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['slug']}.json"
    text = json.dumps(record, indent=1, ensure_ascii=False)
    # lists of plain values on one line: a record is read by people too
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    write_whole(path, text + "\n")
    return path


def timeless(value: Any) -> Any:
    """A record without what a clock says, to compare two runs of the same trial."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in _CLOCK}
    if isinstance(value, list):
        return [timeless(v) for v in value]
    return value


def changes(old: Record, new: Record) -> list[str]:
    """What came out otherwise when a record was run again: one line a metric, none if all agree."""
    lines = []
    before = {arm["name"]: arm for arm in old["arms"]}
    for arm in new["arms"]:
        for metric, values in arm["metrics"].items():
            was = before.get(arm["name"], {}).get("metrics", {}).get(metric)
            if was != values:
                lines.append(f"{arm['name']}, {metric}: was {was}, is {values}")
    for was_claim, claim in zip(old["claims"], new["claims"], strict=False):
        if was_claim["verdict"] != claim["verdict"]:
            lines.append(
                f"{claim['arm']} against {claim['baseline']}, {claim['metric']}: was"
                f" {was_claim['verdict']}, is {claim['verdict']}"
            )
    return lines
