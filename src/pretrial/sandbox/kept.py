"""Verdicts that a runner keeps in memory, for programs that come again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from pretrial.sandbox.outcome import Verdict

Known = tuple[Verdict, list[int]]


class Kept:
    """Verdicts by key, the oldest of them forgotten first. Any number of threads may use one."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._size = 0
        self.unlock()

    def unlock(self) -> None:
        """Make a lock of its own, as in a fork, which may have inherited one that is held."""
        self._lock = threading.Lock()

    def get(self, key: str) -> Known | None:
        """The verdict kept under a key, and the lines of the program that it is of."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: str, verdict: Verdict, lines: list[int], most: int) -> None:
        """Keep a verdict, and forget others until no more than `most` are left.

        A verdict with the faults of many tests counts as that many more, since these take the room.
        """
        with self._lock:
            self._forget(key)
            self._known[key] = verdict, lines
            self._size += _size(verdict)
            while self._size > most and self._known:
                self._forget(next(iter(self._known)))

    def _forget(self, key: str) -> None:
        if key in self._known:
            self._size -= _size(self._known.pop(key)[0])


def _size(verdict: Verdict) -> int:
    return 1 + len(verdict.faults)
