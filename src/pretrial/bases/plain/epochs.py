"""The order of fine-tuning: epochs of batches whose contents are of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_WINDOW = 32  # batches whose examples are sorted by length together


class Epochs(Sequence[tuple[Any, Any]]):
    """Epochs one after the other, each in an order of its own, in batches of like length.

    The examples of some batches are sorted by length, cut into batches, and these are shuffled: so
    little of a batch is padding. The last batch of an epoch is filled up with others of it.

    Args:
        examples: (content, target) pairs.
        lengths: of their contents.
        batch_size: examples of a batch.
        num_epochs: that there are.
        seed: of the order.
    """

    def __init__(
        self,
        examples: Sequence[tuple[Any, Any]],
        lengths: Sequence[int],
        batch_size: int,
        num_epochs: int,
        seed: int,
    ) -> None:
        self._examples, self._lengths = examples, np.asarray(lengths)
        self._batch_size, self._num_epochs, self._seed = batch_size, num_epochs, seed
        self.steps_per_epoch = -(-len(examples) // batch_size)
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return self._num_epochs * self.steps_per_epoch * self._batch_size

    def __getitem__(self, index: Any) -> Any:
        epoch, place = divmod(index, self.steps_per_epoch * self._batch_size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._ordered(epoch)
        return self._examples[self._order[place]]

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (self[index] for index in range(len(self)))

    def _ordered(self, epoch: int) -> Any:
        rng = np.random.default_rng([self._seed, epoch])
        order = np.resize(
            rng.permutation(len(self._examples)), self.steps_per_epoch * self._batch_size
        )
        batches: list[Any] = []
        for start in range(0, len(order), _WINDOW * self._batch_size):
            some = order[start : start + _WINDOW * self._batch_size]
            alike = some[np.argsort(self._lengths[some], kind="stable")]
            batches += np.split(alike, len(alike) // self._batch_size)
        return np.concatenate([batches[i] for i in rng.permutation(len(batches))])
