"""How far a stage has come, on one line, and what its numbers were in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pretrial import status
from pretrial.status import Task, duration
from pretrial.train.stage import Stage

_PATIENCE = 5.0  # seconds that a loss may be old, where steps are slow
#: Beside the loss, what is worth a place on the line: as it is logged, and what it is called there.
_ALSO = {"reward": "reward", "share_passed": "passing"}


def told(stages: Iterable[Stage]) -> Iterator[Stage]:
    """The stages; what a method does between them has a line, too."""
    source = iter(stages)
    while True:
        with status.task("preparing the next stage"):
            stage = next(source, None)
        if stage is None:
            return
        yield stage


class StageLine(Task):
    """A stage being trained: step, time left, loss, learning rate, examples a second.

    Args:
        name: of the stage.
        num_steps: that it will take; 0 where only the share of its budget can be told.
        rates: gives its learning rates now, of which the first is shown.
    """

    def __init__(
        self, name: str, num_steps: int = 0, rates: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        super().__init__(name, num_steps)
        self._rates = rates
        self._fraction = self._num_examples = self._seconds = 0.0
        self._start: tuple[float, float, float, float] | None = None
        self._numbers: dict[str, float] = {}
        self._noted = 0.0

    def update(
        self,
        step: int,
        fraction: float,
        num_examples: float,
        seconds: float,
        latest: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Called after every step.

        Args:
            step: how many have been taken.
            fraction: of the budget that was spent.
            num_examples: that were seen.
            seconds: that the steps took, without evaluations and the like.
            latest: scalars of the steps that are not logged yet; the last loss is read, which has
                to wait for the device, where steps are slow and nothing was shown for a while.
        """
        now = time.monotonic()
        if latest and status.is_shown() and now - self._noted > _PATIENCE:
            self.note({"loss": float(latest[-1]["loss"])})
        self.done, self._fraction = step, min(fraction, 1.0)
        self._num_examples, self._seconds = num_examples, seconds
        if self._start is None:
            self._start = now, self._fraction, num_examples, seconds

    def note(self, numbers: Mapping[str, Any]) -> None:
        """Numbers to show from now on, of those that were logged."""
        self._noted = time.monotonic()
        shown = {"loss", *_ALSO}
        self._numbers |= {
            name: value for name, value in numbers.items() if value is not None and name in shown
        }

    def line(self) -> str:
        """The line, which is cut at its end where the terminal is narrow."""
        whole = f"/{self.total:,}" if self.total else f", {self._fraction:.0%}"
        parts = [f"{self.text}  step {self.done:,}{whole}"]
        left, rate = self._pace()
        if left is not None:
            parts.append(f"{duration(left)} left")
        numbers = self._numbers
        parts += [_told(name, numbers[name]) for name in ("loss", *_ALSO) if name in numbers]
        parts += [f"lr {rate:.2g}" for rate in list(self._rates().values())[:1]]
        if rate is not None:
            parts.append(f"{rate:,.0f} examples/s" if rate >= 10 else f"{rate:.2g} examples/s")
        return "  ".join(parts)

    def _pace(self) -> tuple[float | None, float | None]:
        """Seconds left, and examples a second, by the steps of this process behind its first."""
        if self._start is None:
            return None, None
        began, fraction, num_examples, before = self._start
        left = rate = None
        if self._fraction > fraction:
            left = (time.monotonic() - began) * (1 - self._fraction) / (self._fraction - fraction)
        if self._seconds > before:
            rate = (self._num_examples - num_examples) / (self._seconds - before)
        return left, rate


def evaluation_line(stage: str, step: int, numbers: Mapping[str, float]) -> str:
    """What an evaluation gave."""
    shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    return f"{stage}  step {step:,}  held out: {shown}"


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each stage in the rows of a log: its loss at the beginning and at the end."""
    stages: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        of_stage = stages.setdefault(row.get("stage", "run"), {})
        for name, value in row.items():
            told = name == "loss" or name in _ALSO or name.startswith("eval/")
            if told and isinstance(value, int | float):
                of_stage.setdefault(name, []).append(float(value))
    return [
        f"{stage}: " + ", ".join(_course(name, values) for name, values in list(found.items())[:3])
        for stage, found in stages.items()
        if found
    ]


def _course(name: str, values: Sequence[float]) -> str:
    last = _told(name, values[-1])
    if len(values) == 1:
        return last
    called, _, value = last.rpartition(" ")
    return f"{called} {_told(name, values[0]).rpartition(' ')[2]} -> {value}"


def _told(name: str, value: float) -> str:
    """A number with the name that it is called by."""
    called = _ALSO.get(name, name.replace("eval/", "held-out "))
    return f"{called} {value:.0%}" if name == "share_passed" else f"{called} {value:.4g}"
