"""The log of attempts: a line for every trial that was held, also those whose record went.

`attempts.jsonl`, beside the records, is only added to. Who reads a record can see there how often
its question was put, with which metric, and what came out then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pretrial.errors import UserError
from pretrial.files import write_whole

FILE = "attempts.jsonl"
Record = Mapping[str, Any]


def attempt(record: Record, before: Record | None = None) -> dict[str, Any]:
    """The line of a record.

    Args:
        record: that was just made.
        before: the one that it takes the place of, or None.
    """
    primary = record["claims"][0] if record["claims"] else None
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "slug": record["slug"],
        "schema": record["schema"],
        "commits": record["commits"],
        "provisional": record["provisional"],
        "options": record["setting"]["options"],
        "metric": record["metric"],
        "arm": primary and primary["arm"],
        "baseline": record["baseline"],
        "budget": f"{record['budget']['amount']:.6g}{record['budget']['unit']}",
        "useful": record["useful"]["value"],
        "seeds": record["setting"]["seeds"],
        "difference": primary and primary["difference"],
        "verdict": record["verdict"],
        "changed": changed(before, record) if before else [],
    }


def changed(before: Record, record: Record) -> list[str]:
    """Why a record takes the place of another: what was set up otherwise."""

    def told(name: str, old: Any, new: Any) -> list[str]:
        return [] if old == new else [f"{name} was {old}, is {new}"]

    budgets = [f"{r['budget']['amount']:.6g} {r['budget']['unit']}" for r in (before, record)]
    found = [
        *told("metric", before["metric"], record["metric"]),
        *told("baseline", before["baseline"], record["baseline"]),
        *told("budget", *budgets),
        *told("useful", before["useful"]["value"], record["useful"]["value"]),
        *told("options", before["setting"]["options"], record["setting"]["options"]),
    ]
    configs = [{arm["name"]: arm["config"] for arm in r["arms"]} for r in (before, record)]
    common = [name for name in configs[0] if name in configs[1]]
    found += [f"arm {name} is set up otherwise" for name in common
              if configs[0][name] != configs[1][name]]  # fmt: skip
    if before["code"] != record["code"]:
        found.append("the code of its methods changed")
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """All attempts of a folder of records, in the order in which they were made.

    Raises:
        UserError: a line is not JSON.
    """
    path = folder / FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise UserError(f"{path} has a line that is not JSON ({error}): mend it by hand") from None


def add(line: Mapping[str, Any], folder: Path) -> None:
    """Adds an attempt to the log of a folder, unless its last of this trial is the same."""
    lines = read(folder)
    own = [each for each in lines if each["slug"] == line["slug"]]
    if own and own[-1] == line:
        return
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in [*lines, line])
    write_whole(folder / FILE, text)


def same_question_seeds(lines: list[dict[str, Any]]) -> list[str]:
    """Trials that put another question to seeds that had answered one; "" where there is none.

    A metric or claim that is changed after its answer was seen needs seeds that were not seen.
    Lines
    of the first schema, which knew no such rule, are held against later ones only.
    """
    found = []
    for i, line in enumerate(lines):
        for other in lines[:i] if line["schema"] > 1 else ():
            question = ("metric", "arm", "baseline")
            if other["slug"] != line["slug"] or None in (other["arm"], line["arm"]):
                continue
            common = set(other["seeds"]) & set(line["seeds"])
            if common and any(other[name] != line[name] for name in question):
                found.append(f"{line['slug']}: seeds {sorted(common)} answered {other['metric']}")
    return found
