"""What one program may use."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

from pretrial.errors import UserError

WALL_FACTOR = 10  # a program that gets a tenth of a core still has its time
LEAST_SECONDS = 0.01


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Attributes:
        seconds: of the processor, for all the tests of a program together, so that a busy machine
            changes no verdict. A test that waits, as for a sleep, has as much by the clock; and
            `WALL_FACTOR` times as much is the end of everything. Where the kernel does not tell
            what another process has used (macOS), all is by the clock.
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

    def of_job(self, cpu: float = 0.0, wall: float = 0.0) -> dict[str, Any]:
        """What a worker is told, after a program has used so much in earlier runs."""
        used = cpu if sys.platform == "linux" else wall
        return {
            "seconds": max(LEAST_SECONDS, self.seconds - used),
            "wall": max(LEAST_SECONDS, WALL_FACTOR * self.seconds - wall),
            "limits": {**asdict(self), "cpu_seconds": self.cpu_seconds},
        }

    @property
    def cpu_seconds(self) -> int:
        """The limit on CPU time in the whole seconds that setrlimit takes."""
        return max(1, math.ceil(self.seconds))


def scaled(limits: Limits, seconds: float, factor: float, floor: float) -> Limits:
    """`limits` with the time max(floor, factor x seconds), in steps of a tenth of a second.

    The step keeps most limits the same from run to run although measured times are not.
    """
    return replace(limits, seconds=max(floor, math.ceil(factor * seconds * 10) / 10))
