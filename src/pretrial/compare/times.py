"""When a job was at work: one line a part, from its start to its last sign of life."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TIMES = "times.txt"
_SIGN_SECONDS = 1.0  # between two signs of life: what a kill may leave out
_LINE = re.compile(r"^(\d+\.\d{3}) (\d+\.\d{3})$", re.MULTILINE)

Part = tuple[float, float]


class Clock:
    """Keeps the last line of a job's times.txt up to date while its `with` block runs."""

    def __init__(self, folder: Path) -> None:
        self._began, self._start = time.time(), time.monotonic()
        self._file = os.open(folder / TIMES, os.O_WRONLY | os.O_CREAT, 0o666)
        self._place = os.lseek(self._file, 0, os.SEEK_END)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Clock:
        self.tick()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._file)

    def _watch(self) -> None:
        while not self._over.wait(_SIGN_SECONDS):
            self.tick()
        self.tick()

    def tick(self) -> None:
        """Says that the job is alive now; always as many bytes, at the same place."""
        now = self._began + time.monotonic() - self._start
        with suppress(OSError):  # on a full disk the work itself says so
            os.pwrite(self._file, f"{self._began:.3f} {now:.3f}\n".encode(), self._place)


def parts(folder: Path) -> list[Part]:
    """Beginning and end of each part of a job, in seconds since 1970."""
    try:
        text = (folder / TIMES).read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [(float(began), float(ended)) for began, ended in _LINE.findall(text)]


def worked(folder: Path) -> float:
    """Seconds that a job took, over all its parts."""
    return sum(ended - began for began, ended in parts(folder))


def covered(folders: Iterable[Path]) -> float:
    """Seconds in which at least one of these jobs was at work."""
    total, until = 0.0, 0.0
    for began, ended in sorted(part for folder in folders for part in parts(folder)):
        total += max(ended - max(began, until), 0.0)
        until = max(until, ended)
    return total
