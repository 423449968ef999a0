"""pass@k and n@k, with bootstrap intervals over problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from pretrial.errors import UserError


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Probability that k of the samples, drawn without replacement, hold a correct one.

    The unbiased estimate 1 - C(n - c, k) / C(n, k) of Chen et al. 2021, arXiv 2107.03374, section
    2.1, in whole numbers until the last division.

    Raises:
        UserError: k is not between 1 and the number of samples.
    """
    if not 1 <= k <= num_samples:
        raise UserError(f"pass@{k} needs at least {max(k, 1)} samples a problem, not {num_samples}")
    return 1 - comb(num_samples - num_correct, k) / comb(num_samples, k)


def n_at_k(num_kept: int, num_kept_correct: int, n: int) -> float:
    """Probability that one of n submissions is correct, after a filter by the example tests.

    Of k samples of a problem, those that pass the tests shown in its statement are kept; n of them,
    drawn without replacement, are submitted, or all where no more than n are left.

    Args:
        num_kept: samples that pass the example tests.
        num_kept_correct: those of them that pass the hidden tests too.
        n: submissions.

    Raises:
        UserError: n is below 1.
    """
    if n < 1:
        raise UserError(f"n@k submits at least 1 program, not {n}")
    if num_kept <= n:
        return float(num_kept_correct > 0)
    return 1 - comb(num_kept - num_kept_correct, n) / comb(num_kept, n)


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Sequence[float], *, confidence: float = 0.95, num_resamples: int = 4000, seed: int = 0
) -> Interval:
    """The mean of one value a problem, with an interval over problems.

    The same seed and number of values give the same resamples, so two arms are resampled alike.

    Raises:
        UserError: there are no values.
    """
    column = np.asarray(values, dtype=np.float64)
    if column.size == 0:
        raise UserError("there are no problems to average over")
    rng = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for i in range(num_resamples):  # one row at a time: thousands of problems need no large matrix
        means[i] = column[rng.integers(column.size, size=column.size)].mean()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(column.mean()), float(low), float(high))


def bootstrap_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    confidence: float = 0.95,
    num_resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Mean of `ours` minus mean of `theirs`, paired: both hold one value for each problem in order.

    Raises:
        UserError: the arms have different numbers of problems.
    """
    if len(ours) != len(theirs):
        raise UserError(
            f"a paired difference needs the same problems in both arms, not {len(ours)} and"
            f" {len(theirs)}"
        )
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return bootstrap_mean(
        differences, confidence=confidence, num_resamples=num_resamples, seed=seed
    )
