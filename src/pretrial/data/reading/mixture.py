"""Several data sets as one, each with a share of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from pretrial.errors import UserError


def temperature_weights(sizes: Sequence[int], alpha: float = 0.7) -> list[float]:
    """Shares q_i proportional to n_i ** alpha, of data sets with n_i examples.

    An `alpha` of 1 keeps the proportions, 0 makes all shares equal; what lies between helps small
    sets without repeating them as often.

    Args:
        sizes: n_i, each 1 or more.
        alpha: CodeT5 and UniXcoder have 0.7.

    Raises:
        UserError: there is no set, one is empty, or `alpha` is negative.
    """
    if not sizes or min(sizes) < 1:
        raise UserError(f"every part of a mixture needs an example or more, not sizes {sizes}")
    if alpha < 0:
        raise UserError(f"alpha must be 0 or more, not {alpha}")
    total = sum(sizes)
    powers = [(size / total) ** alpha for size in sizes]
    return [power / sum(powers) for power in powers]


class Mixture(Sequence[Any]):
    """One sequence of examples drawn from several, in given shares.

    It is as long as it must be for every example to come once or more: those of parts with a large
    share for their size come again. Without shuffling, examples of all parts are spread evenly.

    Args:
        parts: the data sets, none empty.
        weights: share of each, all above 0; see `temperature_weights`.

    Attributes:
        counts: how many positions each part has.
    """

    def __init__(self, parts: Sequence[Sequence[Any]], weights: Sequence[float]) -> None:
        if len(parts) != len(weights) or min(weights, default=0) <= 0:
            raise UserError(f"{len(parts)} parts need as many weights above 0, not {list(weights)}")
        self.parts = list(parts)
        scale = max(len(part) / weight for part, weight in zip(parts, weights, strict=True))
        # what a rounding error leaves above a whole number is not another example
        self.counts = [math.ceil(scale * weight - 1e-6) for weight in weights]
        places = [(np.arange(count) + 0.5) / count for count in self.counts]
        order = np.concatenate(places).argsort(kind="stable")
        part = np.repeat(np.arange(len(parts)), self.counts)[order]
        number = np.concatenate([np.arange(count) for count in self.counts])[order]
        self._part = part.astype(np.int32)
        self._number = (number % np.array([len(p) for p in parts])[part]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._part)

    def where(self, index: int) -> tuple[int, int]:
        """Which part a position belongs to, and which of its examples it holds."""
        return int(self._part[index]), int(self._number[index])

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part, number = self.where(index)
        return self.parts[part][number]
