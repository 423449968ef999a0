"""A uniform sample of a stream whose length nobody knows yet."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from pretrial.errors import UserError

T = TypeVar("T")


class Reservoir(Generic[T]):
    """At any moment every item seen until then is in it with the same probability.

    Vitter 1985, algorithm R. The order of the items is of no meaning.

    Attributes:
        items: at most `size` of them.
        num_seen: length of the stream until now.
    """

    def __init__(self, size: int, seed: int, items: Sequence[T] = (), num_seen: int = 0) -> None:
        """`items` and `num_seen` are those of an earlier reservoir, which then goes on.

        Raises:
            UserError: there is no room for a single item.
        """
        if size < 1:
            raise UserError(f"a memory holds at least 1 item, not {size}")
        self.size = size
        self.num_seen = max(num_seen, len(items))
        self._random = random.Random(seed)
        self.items = list(items)
        if len(self.items) > size:
            self.items = self._random.sample(self.items, size)

    def add(self, items: Iterable[T]) -> None:
        """Takes in more of the stream."""
        for item in items:
            self.num_seen += 1
            if len(self.items) < self.size:
                self.items.append(item)
                continue
            place = self._random.randrange(self.num_seen)
            if place < self.size:
                self.items[place] = item

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)
