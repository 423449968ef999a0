"""When the time of a program is up.

A program is given processor time, which a busy machine does not stretch: with many processes
beside it, it gets the same verdict as alone. A program that waits, for a sleep or a lock, uses
none; it is given as much by the clock on the wall. One that does a little now and then ends at the
latest after `wall`.
"""

from __future__ import annotations

import sys
import time

IDLE_SHARE = 0.03  # of the time; one that has the processor for less of it waits for something
LOOK_SECONDS = 0.5  # between two looks at a program that had too little of the processor
LEAST_LOOK = 0.25  # shorter ones could find a program waiting that only waits for the processor
SHORT = 0.005


class Clock:
    """The time of one process.

    Args:
        pid: of the process.
        seconds: of the processor, or of idle waiting.
        wall: seconds by the clock after which it is over whatever it does.
    """

    def __init__(self, pid: int, seconds: float, wall: float) -> None:
        self.pid, self.seconds = pid, seconds
        now = time.monotonic()
        self.limit, self.end = now + seconds, now + wall
        self._seen_at, self._seen = now, 0.0  # the last look
        self._next = now + max(seconds - LOOK_SECONDS, seconds / 2)

    def left(self) -> float:
        """Seconds until it must be asked again; 0 where the time is up."""
        now = time.monotonic()
        if now < self._next:
            return self._next - now
        used = processor_seconds(self.pid)
        if used is None:  # no such clock here
            self._next = self.limit
            return max(self.limit - now, 0.0)
        if used >= self.seconds or now >= self.end:
            return 0.0
        passed = now - self._seen_at
        if now >= self.limit and passed < LEAST_LOOK:
            return LEAST_LOOK - passed
        if now >= self.limit and used - self._seen < IDLE_SHARE * passed:
            return 0.0
        self._seen_at, self._seen = now, used
        # it can be up no sooner than when all of this time is its own
        soonest = min(max(self.seconds - used, SHORT), LOOK_SECONDS)
        self._next = min(now + soonest, self.end)
        if now < self.limit:
            self._next = max(self._next, self.limit)
        return self._next - now


def processor_seconds(pid: int) -> float | None:
    """What the threads of a process have used; None where the kernel does not say."""
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime(~pid << 3 | 2)  # CPUCLOCK_SCHED of the kernel's posix-timers.h
    except OSError:
        return None
