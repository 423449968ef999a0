"""The handlers that `random` and `threading` register for forks, without which programs start.

They seed the generator anew, which the harness does as well, and mend what threads of the parent
leave behind, of which the worker has none. Yet they touch a hundred pages of memory, and each of
them the kernel has to copy. A program's own forks have them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_wanted = False


@contextmanager
def held_back() -> Iterator[None]:
    """Handlers that are registered meanwhile do nothing before `put_back`."""
    register = os.register_at_fork

    def hold(**handlers: Callable[[], object]) -> None:
        register(**{when: _if_wanted(handler) for when, handler in handlers.items()})

    os.register_at_fork = hold  # type: ignore[assignment]
    try:
        yield
    finally:
        os.register_at_fork = register


def put_back() -> None:
    """The forks of this process have all handlers from now on."""
    global _wanted
    _wanted = True


def _if_wanted(handler: Callable[[], object]) -> Callable[[], None]:
    def handle() -> None:
        if _wanted:
            handler()

    return handle
