"""The curve of a metric that a run has logged."""

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
