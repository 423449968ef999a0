"""What a stage goes through: items under objectives that alternate from batch to batch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, overload

import torch

from pretrial.data.reading.mixture import temperature_weights
from pretrial.errors import UserError
from pretrial.methods.code.unixcoder.data.fragments import Item
from pretrial.train.seeds import seed_of


class Turn(NamedTuple):
    """An item, and what is learned from it this time."""

    objective: str
    item: Item


class Turns(Sequence[Turn]):
    """Items under objectives that alternate from batch to batch, each batch of one language.

    A pass has as many batches as the items fill. A batch is of language i with a probability of
    n_i ** alpha / sum_j n_j ** alpha, so that rare languages come up more often than they would by
    their number; those that could not fill one batch count as one language with the largest. There
    are as many passes as objectives, each shifted by one, and they are one sequence, so that where
    training stands tells what is learned next.

    Args:
        items: the data.
        objectives: names, in the order of the batches.
        batch_size: examples a step.
        alpha: 1 keeps the proportions of the languages, 0 makes them equal.
        seed: of the order.

    Raises:
        UserError: the items do not fill a batch.
    """

    def __init__(
        self,
        items: Sequence[Item],
        objectives: Sequence[str],
        batch_size: int,
        alpha: float,
        seed: int,
    ) -> None:
        if len(items) < batch_size:
            raise UserError(
                f"{len(items)} examples do not fill a batch of {batch_size}: give more data, or"
                f" set batch_size to {max(len(items), 1)} or less"
            )
        self.items = items
        self.objectives = tuple(objectives)
        self.batch_size = batch_size
        self.num_batches = len(items) // batch_size
        self._groups = _by_language(items, batch_size)
        sizes = [len(group) for group in self._groups]
        self._shares = torch.tensor(temperature_weights(sizes, alpha))
        self._seed = seed
        self._pass = -1
        self._places: list[int] = []

    def __len__(self) -> int:
        return len(self.objectives) * self.num_batches * self.batch_size

    @overload
    def __getitem__(self, index: int) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> list[Turn]: ...
    def __getitem__(self, index: int | slice) -> Turn | list[Turn]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number, place = divmod(range(len(self))[index], self.num_batches * self.batch_size)
        if number != self._pass:
            self._pass, self._places = number, self._order(number)
        batch = place // self.batch_size
        objective = self.objectives[(number + batch) % len(self.objectives)]
        return Turn(objective, self.items[self._places[place]])

    def _order(self, number: int) -> list[int]:
        """Places of the items in one pass, batch after batch."""
        generator = torch.Generator().manual_seed(seed_of(self._seed, "pass", number))
        drawn = torch.multinomial(
            self._shares, self.num_batches, replacement=True, generator=generator
        )
        streams: dict[int, list[int]] = defaultdict(list)
        for language, count in enumerate(drawn.bincount(minlength=len(self._groups)).tolist()):
            group = self._groups[language]
            for _ in range(math.ceil(count * self.batch_size / len(group))):
                order = torch.randperm(len(group), generator=generator).tolist()
                streams[language] += [group[place] for place in order]
        order = []
        for language in drawn.tolist():
            order += streams[language][: self.batch_size]
            del streams[language][: self.batch_size]
        return order


def _by_language(items: Sequence[Item], batch_size: int) -> list[list[int]]:
    """Places of the items of each language that fills a batch; the largest has all the rest."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        groups[item.language].append(place)
    by_size = sorted(groups.values(), key=len, reverse=True)
    rest = [place for group in by_size[1:] if len(group) < batch_size for place in group]
    return [by_size[0] + rest, *(group for group in by_size[1:] if len(group) >= batch_size)]
