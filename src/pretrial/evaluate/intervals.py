"""Bootstrap intervals over the items of a data set (problems, texts, queries)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pretrial.errors import UserError


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval (95 % unless it is said otherwise).

    `low` and `high` are nan where there is nothing to estimate an interval from.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.4g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def bootstrap_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    confidence: float = 0.95,
    num_resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Sum of the numerators over sum of the denominators, with an interval over items.

    The same seed and number of items give the same resamples, so two arms are resampled alike.

    Args:
        numerators: one number an item.
        denominators: one number an item, above 0.
        confidence: of the interval.
        num_resamples: data sets drawn with replacement.
        seed: of the resampling.

    Raises:
        UserError: there are no items.
    """
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    if top.size == 0:
        raise UserError("there are no items to average over; is the data empty?")
    rng = np.random.default_rng(seed)
    ratios = np.empty(num_resamples)
    for i in range(num_resamples):  # one at a time: thousands of items need no large matrix
        drawn = rng.integers(top.size, size=top.size)
        ratios[i] = top[drawn].sum() / bottom[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(float(top.sum() / bottom.sum()), float(low), float(high))


def bootstrap_mean(
    values: Sequence[float], *, confidence: float = 0.95, num_resamples: int = 4000, seed: int = 0
) -> Interval:
    """The mean of one value an item, with an interval over items; see `bootstrap_ratio`."""
    return bootstrap_ratio(
        values,
        np.ones(len(values)),
        confidence=confidence,
        num_resamples=num_resamples,
        seed=seed,
    )


def bootstrap_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    confidence: float = 0.95,
    num_resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Mean of `ours` minus mean of `theirs`, paired: both hold one value for each item in order.

    Raises:
        UserError: the arms have different numbers of items.
    """
    if len(ours) != len(theirs):
        raise UserError(
            f"a paired difference needs the same items in both arms, not {len(ours)} and"
            f" {len(theirs)}"
        )
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return bootstrap_mean(
        differences, confidence=confidence, num_resamples=num_resamples, seed=seed
    )
