"""Numbers and intervals as records hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pretrial.evaluate.intervals import Interval


def rounded(value: float) -> float:
    """Six significant digits: enough for any verdict, and small files."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def interval_json(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON; ends that are not known become null."""
    return {
        name: rounded(value) if math.isfinite(value) else None
        for name, value in (
            ("value", interval.value),
            ("low", interval.low),
            ("high", interval.high),
        )
    }


def interval_of(value: Mapping[str, float | None]) -> Interval:
    """Reads what `interval_json` gave."""
    ends = (
        math.nan if value[k] is None else float(value[k] or 0) for k in ("value", "low", "high")
    )
    return Interval(*ends)
