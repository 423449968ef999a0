"""Spreading work over workers, one thread for each."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pretrial.sandbox.host import Worker

Step = Callable[[Worker, Any, Any], Any]


def spread(items: Sequence[Any], step: Step, workers: Sequence[Worker]) -> Iterator[Any]:
    """Do a step for each item.

    Args:
        items: none of them None.
        step: is given a worker, an item, and the item that this worker gets next (None: no more).
        workers: each is used by one thread at a time.

    Yields:
        (item, result) as they come, in no order.

    Raises:
        Exception: what a step raised. The workers have been killed then and start anew if needed;
            so they have if the caller leaves early.
    """
    todo = deque(items)
    ready: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

    def take() -> Any:
        try:
            return todo.popleft()
        except IndexError:
            return None

    def serve(worker: Worker, item: Any) -> None:
        while item is not None:
            following = take()
            try:
                ready.put((item, step(worker, item, following)))
            except BaseException as error:  # raised again in the caller's thread
                ready.put((None, error))
                return
            item = following

    # Every worker gets a first item before any claims a second.
    threads = [
        threading.Thread(target=serve, args=(worker, todo.popleft()), daemon=True)
        for worker in workers[: len(items)]
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(len(items)):
            item, result = ready.get()
            if item is None:
                raise result
            yield item, result
    except BaseException:
        todo.clear()
        for worker in workers:
            worker.kill()  # frees the threads that wait for it
        raise
    finally:
        for thread in threads:
            thread.join()
