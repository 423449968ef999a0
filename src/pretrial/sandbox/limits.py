"""What one program may use, and how to find a time limit from a reference solution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pretrial.data.problems import Tests
from pretrial.errors import UserError
from pretrial.sandbox.outcome import Verdict

WAITING_SHARE = 0.2  # a program that has the processor for less of its time waits for something


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Attributes:
        seconds: for all the tests of a program together; wall clock, and CPU time rounded up to
            whole seconds (the kernel counts no finer).
        memory_mb: address space in MiB, of each process.
        output_kb: standard output, or all the values a program returns, in KiB; raised to twice the
            size of the expected output where that is larger.
        processes: threads and processes beside the main one.
    """

    seconds: float = 4.0
    memory_mb: int = 512
    output_kb: int = 64
    processes: int = 8

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.output_kb <= 0 or self.processes < 0:
            raise UserError("the limits of a program must be positive numbers")
        if self.memory_mb < 64:
            raise UserError("memory_mb must be at least 64, which the interpreter itself needs")

    @property
    def cpu_seconds(self) -> int:
        """The limit on CPU time in the whole seconds that setrlimit takes."""
        return max(1, math.ceil(self.seconds))


def scaled(limits: Limits, seconds: float, factor: float, floor: float) -> Limits:
    """`limits` with the time max(floor, factor x seconds), in steps of a tenth of a second.

    The step keeps most limits the same from run to run although measured times are not.
    """
    return replace(limits, seconds=max(floor, math.ceil(factor * seconds * 10) / 10))


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
    from pretrial.sandbox.runner import run_programs  # it imports this file

    base = limits or Limits()
    verdicts = run_programs(references, limits=base, workers=1, **options)
    return [
        scaled(base, _seconds_of(verdict), factor, floor) if verdict.passed else base
        for verdict in verdicts
    ]


def _seconds_of(verdict: Verdict) -> float:
    """Processor time, which a busy machine does not stretch; wall time of a program that waits."""
    waits = verdict.cpu_seconds < WAITING_SHARE * verdict.wall_seconds
    return verdict.wall_seconds if waits else verdict.cpu_seconds
