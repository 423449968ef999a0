"""Statistics of a trial: paired differences over seeds and groups of items.

scipy is imported where it is used, so that pages can be written without it. How many seeds a trial
runs, and what verdict follows, is in `compare.sequential`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pretrial.errors import UserError
from pretrial.evaluate.intervals import Interval

Over = Literal["seeds", "seeds and items", "items", "nothing"]


@dataclass(frozen=True)
class Estimate:
    """A mean difference and what is known of it.

    Attributes:
        mean: the difference.
        se: its standard error; nan where there is nothing to estimate it from.
        df: degrees of freedom of Student's distribution that `mean / se` is held against.
        over: what varies: seeds alone, seeds and items, or the items of one seed.
    """

    mean: float
    se: float
    df: float
    over: Over

    @property
    def p(self) -> float:
        """Two-sided, of no difference; 1 where there is nothing to estimate it from."""
        from scipy import special

        return float(2 * special.stdtr(self.df, -abs(self.mean) / self.se)) if self.known else 1.0

    @property
    def known(self) -> bool:
        """Whether anything is known of the spread."""
        return math.isfinite(self.se)

    def interval(self, confidence: float = 0.95) -> Interval:
        """The mean and the ends of its interval, nan where nothing is known of the spread."""
        from scipy import special

        if not self.known:
            return Interval(self.mean, math.nan, math.nan)
        half = float(special.stdtrit(self.df, (1 + confidence) / 2)) * self.se
        return Interval(self.mean, self.mean - half, self.mean + half)


def paired(differences: ArrayLike, over: Over = "seeds") -> Estimate:
    """Mean of paired differences, to be held against a t distribution.

    Args:
        differences: [seeds], ours minus theirs with the same seed; or [groups], of one seed.
        over: which of the two, seeds or items.
    """
    d = np.asarray(differences, dtype=np.float64)
    _some(d)
    if len(d) < 2:
        return _estimate(float(d.mean()), 0.0, 1, over)
    return _estimate(float(d.mean()), float(d.var(ddof=1)) / len(d), len(d) - 1, over)


def crossed(differences: ArrayLike) -> Estimate:
    """Mean difference where every seed is measured on the same items: neither is the population.

    Seeds and items are crossed random effects. With the mean squares of the two-way table,
    Var(mean) = (MS_seeds + MS_items - MS_rest) / (seeds x items), with Satterthwaite's degrees of
    freedom (Satterthwaite 1946; the quasi-F of Clark 1973 for language as a random effect). It is
    never taken as less than the variance that either effect alone gives. The degrees of freedom
    are capped at twice those of the seeds: with few seeds their mean square comes out small by
    chance, and Satterthwaite's go to hundreds just then.

    Args:
        differences: [seeds, items], ours minus theirs; at least two of each.
    """
    d = np.asarray(differences, dtype=np.float64)
    _some(d)
    num_seeds, num_items = d.shape
    mean = float(d.mean())
    rows, columns = d.mean(axis=1), d.mean(axis=0)
    rest = d - rows[:, None] - columns[None, :] + mean
    df_seeds, df_items = num_seeds - 1, num_items - 1
    ms_seeds = num_items * float(rows.var(ddof=1))
    ms_items = num_seeds * float(columns.var(ddof=1))
    ms_rest = float((rest**2).sum()) / (df_seeds * df_items)
    total = ms_seeds + ms_items - ms_rest
    freedom = total**2 / max(
        ms_seeds**2 / df_seeds + ms_items**2 / df_items + ms_rest**2 / (df_seeds * df_items),
        1e-300,
    )
    for alone, df in ((ms_seeds, df_seeds), (ms_items, df_items)):
        if alone >= total:
            total, freedom = alone, df
    variance = total / (num_seeds * num_items)
    return _estimate(mean, variance, min(freedom, 2 * df_seeds), "seeds and items")


def by_group(values: ArrayLike, groups: Sequence[int] | None) -> NDArray[Any]:
    """One value a group in place of one an item, with the same mean in every row.

    Items of one group (of a module, a speaker, a template) resemble each other, so that groups are
    what was drawn. The mean over items is the ratio of the sums over groups to their sizes, and
    what is returned is that ratio's linearisation (Cochran 1977, chapter 6): its spread over groups
    is the spread of the mean.

    Args:
        values: [seeds, items].
        groups: [items], the group of each; None where every item is its own.

    Returns:
        [seeds, groups].
    """
    d = np.asarray(values, dtype=np.float64)
    if groups is None:
        return d
    if len(groups) != d.shape[1]:
        raise UserError(f"{d.shape[1]} items need as many groups, not {len(groups)}")
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    sums = np.stack([np.bincount(place, weights=row) for row in d])
    mean = d.mean()
    return mean + (sums - sizes * mean) / sizes.mean()


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean over seeds with its t interval."""
    return paired(values).interval(confidence)


def difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    our_items: Sequence[Sequence[float]] | None = None,
    their_items: Sequence[Sequence[float]] | None = None,
    groups: Sequence[int] | None = None,
) -> Estimate:
    """The paired difference of two arms, by the sharpest sound way the numbers allow.

    With items: over seeds and items, or over items where there is one seed. Without: over seeds.

    Args:
        ours, theirs: [seeds] metrics, of the same seeds in the same order.
        our_items, their_items: [seeds][items] values whose means the metrics are, or None.
        groups: [items], the group of each item, or None where every item is its own.

    Raises:
        UserError: the arms differ in seeds or items.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        raise UserError(f"paired arms need the same seeds, not {a.size} and {b.size} of them")
    if not our_items or not their_items:
        return paired(a - b)
    x, y = np.asarray(our_items, dtype=np.float64), np.asarray(their_items, dtype=np.float64)
    if x.shape != y.shape:
        raise UserError(f"paired arms need the same items, not {x.shape[-1]} and {y.shape[-1]}")
    table = by_group(x - y, groups)
    if table.shape[1] < 2:
        return paired(a - b)
    return paired(table[0], "items") if len(table) == 1 else crossed(table)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm 1979): below 0.05 for any of them errs in 5 % of families."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def _estimate(mean: float, variance: float, df: float, over: Over) -> Estimate:
    if variance <= 0:  # the seeds changed nothing, so they say nothing of other seeds
        return Estimate(mean, math.nan, 1.0, "nothing")
    return Estimate(mean, math.sqrt(variance), df, over)


def _some(values: NDArray[Any]) -> None:
    if values.size == 0:
        raise UserError("there is nothing to compare: no seed has finished")
    if not np.isfinite(values).all():
        raise UserError("a metric is not a finite number, so the arms cannot be compared")
