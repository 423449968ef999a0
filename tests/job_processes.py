"""The processes of a trial's jobs, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def wait_for(found: Callable[[], Any], seconds: float = 90) -> Any:
    """Until `found` gives something; returns it."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)
    return value


def at_work(runs: Path) -> dict[int, Path]:
    """Processes of jobs below a folder and the jobs' folders, however they were started.

    They are known by the log that they write.
    """
    found = {}
    for path in Path("/proc").glob("[0-9]*/fd/1"):
        with suppress(OSError):
            log = path.readlink()
            if log.is_relative_to(runs) and log.name == "log.txt":
                found[int(path.parts[2])] = log.parent
    return found
