"""What is being done right now, told while it lasts: `with task("reading rows"): ...`.

Whatever may take long names itself with `task`, in any room of the house. Nothing is printed unless
a command has opened a display with `shown`: on a terminal the innermost task has one line, which
changes in place; elsewhere it has a line when five seconds have passed without any, and one more
every thirty seconds. Tests, workers of trials and users of the library open none and hear nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
AnyTask = TypeVar("AnyTask", bound="Task")

#: Seconds of silence before the first line of a task, and between two of its lines.
FIRST, EVERY = 5.0, 30.0
_REFRESH = 0.2  # seconds between two looks at a terminal's line
_SHORT = 0.4  # what takes no longer is not worth a line on a terminal


class Task:
    """A piece of work that may take long.

    Args:
        text: what is being done.
        total: of the pieces that `advance` counts; 0 where it is not known.
    """

    def __init__(self, text: str, total: int = 0) -> None:
        self.text = text
        self.total = total
        self.done = 0
        self.began = time.monotonic()
        self.told = False  # by a printed line

    def advance(self, count: int = 1) -> None:
        """So many more pieces are done."""
        self.done += count

    def note(self, numbers: Mapping[str, Any]) -> None:
        """Numbers that came up meanwhile; a task that shows some keeps them."""

    def line(self) -> str:
        """What to say of it now."""
        seconds = time.monotonic() - self.began
        parts = [self.text]
        if self.total > 1:
            parts.append(f"{self.done:,} of {self.total:,}")
        elif self.done:
            parts.append(f"{self.done:,}")
        parts.append(duration(seconds))
        if 0 < self.done < self.total:
            parts.append(f"{duration(seconds * (self.total / self.done - 1))} left")
        return "  ".join(parts)


class _Display:
    """Shows the innermost task, from a thread of its own, since the work may take no breath."""

    def __init__(self, console: Callable[[], Console]) -> None:
        self._make_console = console
        self.tasks: list[Task] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._told = time.monotonic()  # when the last line was printed
        self._live: Any = None  # rich's, while there is a line on a terminal

    def begin(self, task: Task) -> None:
        with self._changed:
            self.tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, daemon=True)
                self._thread.start()

    def end(self, task: Task) -> None:
        with self._changed:
            self.tasks.remove(task)
            if not self.tasks:  # its line is off the screen before anything else is printed
                self._changed.notify()
                self._changed.wait_for(lambda: self._live is None, timeout=1.0)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        console: Console | None = None
        # where nobody reads on, the work itself will notice
        with self._changed, suppress(OSError, ValueError):
            try:
                while not self._closed:
                    if console is None and self._age() > _SHORT:
                        console = self._make_console()
                    if console is not None and console.is_terminal:
                        self._draw(console)
                    elif console is not None:
                        self._print(console)
                    self._changed.wait(_REFRESH)
                self._clear()
            finally:
                self._live = None
                self._changed.notify_all()

    def _age(self) -> float:
        """Seconds that the innermost task has taken."""
        return time.monotonic() - self.tasks[-1].began if self.tasks else 0.0

    def _draw(self, console: Console) -> None:
        """Changes the line of a terminal."""
        task = self.tasks[-1] if self.tasks else None
        if task is None:
            self._clear()
        elif self._live is not None or self._age() > _SHORT:
            from rich.live import Live
            from rich.text import Text

            if self._live is None:
                self._live = Live(
                    console=console,
                    auto_refresh=False,
                    transient=True,
                    # a stream that goes elsewhere must not end on the terminal
                    redirect_stdout=os.isatty(1),
                    redirect_stderr=os.isatty(2),
                )
                self._live.start()
            line = Text(task.line(), no_wrap=True, overflow="ellipsis")
            self._live.update(line, refresh=True)

    def _clear(self) -> None:
        if self._live is not None:
            from rich.text import Text

            live, self._live = self._live, None
            live.update(Text(""), refresh=True)
            live.stop()
            self._changed.notify_all()

    def _print(self, console: Console) -> None:
        """Prints a line where it is time for one."""
        now = time.monotonic()
        if not self.tasks:
            return
        task, silence = self.tasks[-1], now - self._told
        is_new = not task.told and self._age() >= FIRST
        if silence >= EVERY or (is_new and silence >= FIRST):
            self._told, task.told = now, True
            console.print(task.line(), highlight=False, markup=False, soft_wrap=True)


_display: _Display | None = None
_hidden = False


@contextmanager
def hidden() -> Iterator[None]:
    """Inside the block no display is opened; for processes that work for another one."""
    global _hidden
    before, _hidden = _hidden, True
    try:
        yield
    finally:
        _hidden = before


@contextmanager
def shown(console: Callable[[], Console]) -> Iterator[None]:
    """Inside the block tasks are told of, in the first process; inside another one it does nothing.

    Args:
        console: gives what to print on, when there is something.
    """
    global _display
    if _display is not None or _hidden or os.environ.get("RANK", "0") != "0":
        yield
        return
    _display = _Display(console)
    try:
        yield
    finally:
        opened, _display = _display, None
        opened.close()


@contextmanager
def showing(task: AnyTask) -> Iterator[AnyTask]:
    """Tells of a task while the block lasts."""
    display = _display
    if display is None:
        yield task
        return
    display.begin(task)
    try:
        yield task
    finally:
        display.end(task)


def is_shown() -> bool:
    """Whether there is a display."""
    return _display is not None


def note(numbers: Mapping[str, Any]) -> None:
    """Numbers that what is being done may show, such as a stage that is open."""
    if _display is not None:
        for task in list(_display.tasks):
            task.note(numbers)


def task(text: str, total: int = 0) -> AbstractContextManager[Task]:
    """`with task("reading rows") as made: ...`; `made.advance()` counts, where it has a total."""
    return showing(Task(text, total))


def each(items: Sequence[T] | Iterable[T], text: str) -> Iterator[T]:
    """Goes through items and tells how far it has come."""
    total = len(items) if isinstance(items, Sequence) else 0
    with task(text, total) as made:
        for item in items:
            yield item
            made.advance()


def duration(seconds: float) -> str:
    """Seconds as a clock shows them: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
