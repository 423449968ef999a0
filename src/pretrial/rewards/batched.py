"""Many threads that each ask for one thing, and what they ask for done together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError

from pretrial.rewards.items import Item
from pretrial.rewards.scoring import Scored

_MOST = 256  # programs of one batch
_THREADS = 2  # so that short programs need not wait behind a batch with a slow one
_CLOSED = "the reward was closed"

Run = Callable[[Sequence[Item], float | None], Iterator[tuple[int, Scored]]]
Asked = tuple[Item, float | None, Future[Scored]]


class Batcher:
    """Gathers what waits while earlier batches run. Any number of threads may ask.

    Args:
        run: scores a batch within so many seconds, and gives each result as it comes.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._closed = run, False
        self._waiting: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def result(self, item: Item, seconds: float | None) -> Scored:
        """The score of one item, after at most so many seconds; None sets no limit of its own."""
        future: Future[Scored] = Future()
        self._waiting.put((item, seconds, future))
        if self._closed and future.cancel():  # the threads may have gone before it came
            return Scored(None, _CLOSED, item.program)
        try:
            return future.result(timeout=seconds)
        except LateError:
            future.cancel()
            return Scored(None, f"no verdict within {seconds:g} s", item.program)

    def close(self) -> None:
        """End the threads; what waits gets no score."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)

    def _serve(self) -> None:
        while True:
            batch, over = self._next()
            wanted = [each for each in batch if each[2].set_running_or_notify_cancel()]
            if self._closed:
                for item, _, future in wanted:
                    future.set_result(Scored(None, _CLOSED, item.program))
            elif wanted:
                self._do(wanted)
            if over:
                return

    def _next(self) -> tuple[list[Asked], bool]:
        """What waits, after at least one thing has come; and whether that was the last."""
        first = self._waiting.get()
        batch = [first] if first is not None else []
        if first is None:
            return [], True
        while len(batch) < _MOST:
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return batch, True
            batch.append(following)
        return batch, False

    def _do(self, batch: Sequence[Asked]) -> None:
        left = dict(enumerate(batch))
        try:
            given = [seconds for _, seconds, _ in batch if seconds is not None]
            seconds = max(given) if len(given) == len(batch) else None
            for place, scored in self._run([item for item, _, _ in batch], seconds):
                left.pop(place)[2].set_result(scored)
        except BaseException as error:  # goes to those who wait for it
            for _, _, future in left.values():
                future.set_exception(error)
