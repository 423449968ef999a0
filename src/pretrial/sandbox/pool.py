"""Workers that threads share: each is lent to one thread at a time, first come, first served."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pretrial.sandbox.host import Worker

Step = Callable[[Worker, Any, Any], Any]

_TURN_SECONDS = 0.05  # that a thread keeps a worker while others wait for one


class _Call:
    """One call of `Pool.spread`.

    Attributes:
        each: workers that each of its threads needs.
        held: those that its threads have.
        over: whether its threads should end.
    """

    def __init__(self, each: int) -> None:
        self.each = each
        self.held: set[Worker] = set()
        self.over = False


class Pool:
    """Lends workers to threads. Any number of threads may call its methods at the same time.

    Args:
        workers: none of them used by anybody else.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        self._idle = list(workers)
        self._line: deque[_Call] = deque()  # who waits for workers, the first come first
        self._changed = threading.Condition()

    def spread(
        self,
        items: Sequence[Any],
        step: Step,
        *,
        alone: bool = False,
        until: float | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Do a step for each item, on as many workers as are to be had.

        Args:
            items: none of them None.
            step: is given a worker, an item, and the item that this worker gets next (None: no
                more, or another thread comes first).
            alone: one step at a time, while no other worker of the pool does anything.
            until: when to give up, by `time.monotonic`.

        Yields:
            (item, result) as they come, in no order.

        Raises:
            TimeoutError: it is later than `until`.
            Exception: what a step raised. The workers of this call have been killed then and start
                anew if needed; so they have if the caller leaves early.
        """
        todo, call = deque(items), _Call(len(self.workers) if alone else 1)
        ready: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

        def serve(item: Any) -> None:
            try:
                while item is not None:
                    item = self._turn(call, item, todo, step, ready)
            except BaseException as error:  # raised again in the caller's thread
                ready.put((None, error))

        # Every worker gets a first item before any claims a second.
        count = min(len(items), len(self.workers) // call.each)
        threads = [
            threading.Thread(target=serve, args=(todo.popleft(),), daemon=True)
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(len(items)):
                item, result = _get(ready, until)
                if item is None:
                    raise result
                yield item, result
        except BaseException:
            todo.clear()
            self._end(call)
            raise
        finally:
            for thread in threads:
                thread.join()

    def _turn(
        self,
        call: _Call,
        item: Any,
        todo: deque[Any],
        step: Step,
        ready: queue.SimpleQueue[tuple[Any, Any]],
    ) -> Any:
        """Steps on one worker, until nothing is left or others have waited; what to go on with."""
        held = self._take(call)
        began = time.monotonic()
        try:
            while item is not None and not call.over:
                leave = bool(self._line) and time.monotonic() - began > _TURN_SECONDS
                following = None if leave else _next(todo)
                ready.put((item, step(held[0], item, following)))
                item = following
                if leave:
                    item = _next(todo)
                    break
        except BaseException:
            held[0].kill()  # it may be in the middle of something
            raise
        finally:
            self._give(call, held)
        return None if call.over else item

    def _take(self, call: _Call) -> list[Worker]:
        """Workers for a thread, after those who asked before; none if its call is over."""
        with self._changed:
            self._line.append(call)
            while not call.over and (self._line[0] is not call or len(self._idle) < call.each):
                self._changed.wait()
            self._line.remove(call)
            held = [] if call.over else [self._idle.pop() for _ in range(call.each)]
            call.held.update(held)
            self._changed.notify_all()
            return held

    def _give(self, call: _Call, held: list[Worker]) -> None:
        with self._changed:
            call.held.difference_update(held)
            self._idle += held
            self._changed.notify_all()

    def _end(self, call: _Call) -> None:
        """Free the threads of a call that wait for their workers."""
        with self._changed:
            call.over = True
            for worker in call.held:
                worker.kill()
            self._changed.notify_all()


def _get(ready: queue.SimpleQueue[Any], until: float | None) -> Any:
    try:
        return ready.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
    except queue.Empty:
        raise TimeoutError from None


def _next(todo: deque[Any]) -> Any:
    try:
        return todo.popleft()
    except IndexError:
        return None
