"""Stopping a run from outside: Ctrl-C, SIGTERM, and what is said to the user then."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pretrial.errors import UserError


class Stopped(UserError):  # noqa: N818 - no error of anybody
    """The run was asked to stop and can be gone on with; the message says how."""


class StopRequest:
    """Whether a signal has asked the run to stop.

    While `deferred` is true, which is while a stage is open, a first signal only sets `asked`: the
    loop saves at the end of its step and raises Stopped. At any other time, and at a second signal,
    the run ends at once; finished stages and artefacts are whole on disk by then.
    """

    def __init__(self) -> None:
        self.asked = False
        self.deferred = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if not self.deferred:
            raise Stopped("stopped; run the same command again to go on from what is finished")


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Handles SIGINT and SIGTERM for the time of a training; only the main thread can."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request.handle) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
