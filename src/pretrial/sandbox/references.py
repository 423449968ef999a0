"""Time limits from how long reference solutions take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretrial.sandbox.limits import Limits, scaled
from pretrial.sandbox.outcome import Verdict
from pretrial.sandbox.runner import run_programs
from pretrial.sandbox.tests import Tests

WAITING_SHARE = 0.2  # a program that has the processor for less of its time waits for something


def limits_from_reference(
    references: Sequence[tuple[str, Tests]],
    *,
    factor: float = 5.0,
    floor: float = 1.0,
    limits: Limits | None = None,
    **options: Any,
) -> list[Limits]:
    """Time limits, one per problem, from how long its reference solution takes.

    Args:
        references: (program, tests) of each problem.
        factor: the limit as a multiple of the reference's time.
        floor: no limit is below this many seconds.
        limits: the limits for the references themselves, and the other limits of the result. A
            reference that does not pass under them leaves them as they are.
        options: further arguments of `run_programs`, but `workers`.
    """
    base = limits or Limits()
    verdicts = run_programs(references, limits=base, workers=1, **options)
    return [limits_after(verdict, base, factor, floor) for verdict in verdicts]


def limits_after(verdict: Verdict, base: Limits, factor: float, floor: float) -> Limits:
    """Limits by the time that a reference took; `base` where it did not pass."""
    return scaled(base, seconds_of(verdict), factor, floor) if verdict.passed else base


def seconds_of(verdict: Verdict) -> float:
    """Processor time, which a busy machine does not stretch; wall time of a program that waits."""
    waits = verdict.cpu_seconds < WAITING_SHARE * verdict.wall_seconds
    return verdict.wall_seconds if waits else verdict.cpu_seconds
