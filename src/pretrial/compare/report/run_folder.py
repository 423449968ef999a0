"""What a run's folder tells, read without torch, while the run trains and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from pretrial.compare.report.plots import Curve
from pretrial.errors import UserError
from pretrial.train.budget import Budget
from pretrial.train.claim import holder
from pretrial.train.log import read_rows

Row = Mapping[str, Any]

_RECORD, _METRICS, _MODEL, _SPENT = "run.json", "metrics.jsonl", "model", "spent.json"
#: Columns of a row that say how far training had come.
UNITS = ("examples", "tokens", "flops", "seconds")
_NO_METRIC = {"stage", "step", *UNITS}
HELD_OUT = "eval/"
_SIDES = ("training", "held out")
_MOST_POINTS = 240


@dataclass(frozen=True)
class RunFolder:
    """A run as its folder has it.

    Attributes:
        folder: of the run.
        record: of run.json; empty for a job of a trial, which has none.
        rows: of metrics.jsonl.
        state: "training", "finished" or "stopped".
    """

    folder: Path
    record: Row
    rows: Sequence[Row]
    state: str

    @classmethod
    def read(cls, folder: Path, state: str = "") -> RunFolder:
        """Reads it.

        Args:
            folder: of the run.
            state: where the caller knows it.

        Raises:
            UserError: the folder holds no run, or a file in it is damaged.
        """
        if not (folder / _RECORD).exists() and not (folder / _METRICS).exists():
            raise UserError(f"{folder} holds no run (no {_RECORD}): give what train --out named")
        metrics = folder / _METRICS
        try:
            about = folder / _RECORD
            record = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
            rows = read_rows(metrics)
        except ValueError as error:
            raise UserError(
                f"a file in {folder} is damaged ({error}): write it as it was, or train anew"
            ) from error
        return cls(folder, record, rows, state or state_of(folder))

    @cached_property
    def stages(self) -> list[str]:
        """Names of the stages that have logged, in their order."""
        return list(dict.fromkeys(row.get("stage", "") for row in self.rows if "step" in row))

    def rows_of(self, stage: str) -> list[Row]:
        """The rows of a stage's steps."""
        return [row for row in self.rows if "step" in row and row.get("stage", "") == stage]

    @property
    def data(self) -> list[str]:
        """The sources that it trains on."""
        found = self.record.get("arguments", {}).get("data") or []
        return [found] if isinstance(found, str) else list(found)

    @property
    def budget(self) -> Budget | None:
        """What the run may spend; None where it was given none, or it is not known."""
        text = self.record.get("arguments", {}).get("budget")
        try:
            return Budget.parse(text) if text else None
        except UserError:  # written by another version
            return None

    def spent_of(self, unit: str) -> float:
        """How much of a unit the stages had spent at their last rows."""
        last = {row.get("stage", ""): row for row in self.rows if "step" in row and "loss" in row}
        return sum(row["step"] if unit == "steps" else row.get(unit, 0.0) for row in last.values())

    @cached_property
    def spent(self) -> dict[str, dict[str, float]]:
        """What was spent by purpose and unit: of all the run once it is over, else up to its last
        checkpoints."""
        total: dict[str, dict[str, float]] = _json(self.folder / _SPENT, {})
        if total:
            return total
        for stage in sorted(self.folder.glob("stages/*")):
            states = sorted(stage.glob("[!.]*/state.json"), key=lambda path: path.stat().st_mtime)
            spent = _json(states[-1], {}).get("spent", {}) if states else {}
            for purpose, amounts in spent.items():
                own = total.setdefault(purpose, {})
                for unit, amount in amounts.items():
                    own[unit] = own.get(unit, 0.0) + amount
        return total

    def metrics(self, stage: str) -> dict[str, dict[str, Curve]]:
        """The curves of a stage by the name of their metric: "training", "held out", or both."""
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for row in self.rows_of(stage):
            for name, value in row.items():
                if name in _NO_METRIC or isinstance(value, str) or value is None:
                    continue
                side = _SIDES[name.startswith(HELD_OUT)]
                sides = found.setdefault(name.removeprefix(HELD_OUT), {})
                sides.setdefault(side, []).append((row["step"], value))
        return {
            name: {side: _curve(sides[side], side) for side in _SIDES if side in sides}
            for name, sides in found.items()
        }

    def held_out(self, stage: str) -> dict[str, list[tuple[int, float]]]:
        """What each evaluation on held-out data gave: metric to (step, value)."""
        found: dict[str, list[tuple[int, float]]] = {}
        for row in self.rows_of(stage):
            for name, value in row.items():
                if name.startswith(HELD_OUT) and isinstance(value, int | float):
                    name = name.removeprefix(HELD_OUT)
                    found.setdefault(name, []).append((row["step"], value))
        return found

    def between_steps(self) -> dict[tuple[str, ...], list[Row]]:
        """Rows that belong to no step, such as of samplings, by what they tell."""
        found: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            if "step" not in row:
                found.setdefault(tuple(name for name in row if name != "stage"), []).append(row)
        return found

    def evaluations(self) -> list[Row]:
        """Results of `pretrial eval RUN --out FILE` whose file is in the run's folder."""
        paths = sorted([*self.folder.glob("*.json"), *self.folder.glob("eval*/*.json")])
        return [found for path in paths if {"task", "metrics"} <= (found := _json(path, {})).keys()]

    def samples(self) -> list[Path]:
        """Files with what the model wrote or painted: rows of texts, and pictures."""
        kinds = ("*.jsonl", "*.png", "artefacts/[!.]*/*.jsonl", "artefacts/[!.]*/*.png")
        found = [path for kind in kinds for path in sorted(self.folder.glob(kind))]
        return [path for path in found if path.name != _METRICS]


def state_of(folder: Path) -> str:
    """Whether the run in a folder is "training", "finished" or "stopped"."""
    if (folder / _MODEL).is_dir():
        return "finished"
    return "training" if holder(folder) else "stopped"


def _curve(points: Sequence[tuple[float, float]], side: str) -> Curve:
    """A curve; of a long log means over equal stretches, with a band from lowest to highest."""
    tone = 0 if side == _SIDES[0] else 2
    width = -(-len(points) // _MOST_POINTS)
    if width == 1:
        x, y = zip(*points, strict=True)
        return Curve(x, y, tone=tone)
    parts = [points[start : start + width] for start in range(0, len(points), width)]
    return Curve(
        [part[-1][0] for part in parts],
        [fmean(value for _, value in part) for part in parts],
        [min(value for _, value in part) for part in parts],
        [max(value for _, value in part) for part in parts],
        tone=tone,
    )


def _json(path: Path, default: Any) -> Any:
    """What is in a JSON file; `default` where that is of another type, or there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
    return found if isinstance(found, type(default)) else default
