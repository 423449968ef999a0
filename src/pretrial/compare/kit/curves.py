"""The curve of a metric that a run has logged."""

from __future__ import annotations

from pathlib import Path

from pretrial.train.log import read_rows


def logged_curve(folder: Path, name: str = "eval/loss") -> list[tuple[int, float]]:
    """Steps and values of a metric that a run has logged.

    Args:
        folder: of the run.
        name: of the metric.
    """
    rows = read_rows(folder / "metrics.jsonl")
    return sorted({row["step"]: row[name] for row in rows if name in row}.items())
