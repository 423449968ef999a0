"""What a run of CodeRL is doing, on one line of the terminal, while it does it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pretrial.train.log import read_rows

_EVERY = 0.5  # seconds between two looks into the log


class LiveLine:
    """Follows the log of a run in another process: programs a second, share passed, solved.

    On a terminal the line changes in place; elsewhere a line is printed after each sampling.

    Args:
        console: where it is shown.
        log: metrics.jsonl of the run, which need not be there yet.
    """

    def __init__(self, console: Console, log: Path) -> None:
        self.console, self.log = console, log
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._told = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        if not self.console.is_terminal:
            while not self._ended.wait(_EVERY):
                self._print_samplings()
            self._print_samplings()
            return
        with Live(Text(), console=self.console, refresh_per_second=2) as live:
            while not self._ended.wait(_EVERY):
                live.update(Text(line_of(rows_of(self.log), time.monotonic() - self._began)))

    def _print_samplings(self) -> None:
        rows = rows_of(self.log)
        samplings = [place for place, row in enumerate(rows) if "programs" in row]
        for place in samplings[self._told :]:
            line = line_of(rows[: place + 1], time.monotonic() - self._began)
            self.console.print(line, highlight=False)
        self._told = len(samplings)


def rows_of(log: Path) -> list[dict[str, Any]]:
    """The rows of a log that are whole by now; none where it is not there."""
    return read_rows(log)


def line_of(rows: list[dict[str, Any]], seconds: float) -> str:
    """One line of what the rows of a log say."""
    parts = [f"{seconds:4.0f} s"]
    samplings = [row for row in rows if "programs" in row]
    if samplings:
        last = samplings[-1]
        rate = last["programs"] / max(last["seconds"], 1e-9)
        parts += [
            f"{sum(row['programs'] for row in samplings):,} programs written and run"
            f" ({rate:.0f} a second)",
            f"{last['share_passed']:.0%} of the last ones pass",
            f"{last['solved_by_tests']:,} of {last['with_tests_only']:,} problems with tests only"
            " are solved",
        ]
    else:
        parts.append("writing the first programs")
    steps = [row["step"] for row in rows if "step" in row]
    return " · ".join([*parts, *([f"step {steps[-1]}"] if steps else [])])
