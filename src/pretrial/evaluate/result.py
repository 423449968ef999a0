"""What a task gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pretrial.evaluate.intervals import Interval, bootstrap_mean


@dataclass(frozen=True)
class Result:
    """Metrics of one model on one task.

    Attributes:
        metrics: each metric with its 95 % bootstrap interval over items.
        items: for metrics that are means over items, the value of each item in the order of the
            data; this is what a paired comparison of two models needs.
        notes: settings and counts that a reader needs beside the numbers.
    """

    metrics: dict[str, Interval]
    items: dict[str, list[float]]
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_items(
        cls, items: Mapping[str, Sequence[float]], notes: Mapping[str, Any], seed: int = 0
    ) -> Result:
        """The result whose metrics are means over items."""
        metrics = {name: bootstrap_mean(values, seed=seed) for name, values in items.items()}
        return cls(metrics, {name: list(values) for name, values in items.items()}, dict(notes))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)
