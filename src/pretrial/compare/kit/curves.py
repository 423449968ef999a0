"""How soon a run was as good as another: steps to a loss, read off the curve that it logged."""

from __future__ import annotations

import json
from pathlib import Path


def logged_curve(folder: Path, name: str = "eval/loss") -> list[tuple[int, float]]:
    """Steps and values of a metric that a run has logged.

    Args:
        folder: of the run.
        name: of the metric.
    """
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return sorted({row["step"]: row[name] for row in rows if name in row}.items())


def steps_to(curve: list[tuple[int, float]], loss: float) -> float | None:
    """The step at which a curve first comes down to a loss, between its points; None if never."""
    before = None
    for step, value in curve:
        if value <= loss:
            if before is None:
                return float(step)
            share = (before[1] - loss) / (before[1] - value)
            return before[0] + share * (step - before[0])
        before = (step, value)
    return None
