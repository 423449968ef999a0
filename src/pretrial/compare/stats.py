"""Statistics of a trial: paired differences over seeds and items, intervals, power, verdicts.

scipy is imported where it is used, so that pages can be written without it.
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

Verdict = Literal["shown", "not shown at this budget", "contradicted"]
Over = Literal["seeds", "seeds and items", "items", "nothing"]

_MOST_SEEDS = 1000  # more seeds than anybody would run: then the answer is "too many to say"


@dataclass(frozen=True)
class Estimate:
    """A mean difference and what is known of it.

    Attributes:
        interval: at the confidence asked for.
        p: two-sided, of no difference; 1 where there is nothing to estimate it from.
        over: what varies: seeds alone, seeds and items, or the items of one seed.
    """

    interval: Interval
    p: float
    over: Over


def paired(differences: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of paired differences with its t interval.

    Args:
        differences: [seeds], ours minus theirs with the same seed.
        confidence: of the interval.
    """
    d = np.asarray(differences, dtype=np.float64)
    _some(d)
    mean, count = float(d.mean()), len(d)
    if count < 2:
        return Estimate(Interval(mean, math.nan, math.nan), 1.0, "nothing")
    return _student(mean, float(d.var(ddof=1)) / count, count - 1, confidence, "seeds")


def crossed(differences: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean difference where every seed is measured on the same items: neither is the population.

    Seeds and items are crossed random effects. With the mean squares of the two-way table,
    Var(mean) = (MS_seeds + MS_items - MS_rest) / (seeds x items), with Satterthwaite's degrees of
    freedom (Satterthwaite 1946; the quasi-F of Clark 1973 for language as a random effect). It is
    never taken as less than the variance that either effect alone gives.

    Args:
        differences: [seeds, items], ours minus theirs; at least two of each.
        confidence: of the interval.
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
    return _student(mean, variance, freedom, confidence, "seeds and items")


def bootstrap(differences: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Mean of per-item differences with its BCa bootstrap interval (Efron 1987).

    Args:
        differences: [items], ours minus theirs on the same item.
        confidence: of the interval.
        seed: of the resampling; 9,999 resamples.
    """
    from scipy import stats

    d = np.asarray(differences, dtype=np.float64)
    _some(d)
    mean = float(d.mean())
    if len(d) < 2 or np.ptp(d) == 0:
        return Estimate(Interval(mean, math.nan, math.nan), 1.0, "nothing")
    found = stats.bootstrap(
        (d,),
        np.mean,
        n_resamples=9999,
        batch=1 + 2_000_000 // len(d),  # 16 MB at a time, whatever the number of items
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    draws = found.bootstrap_distribution
    p = 2 * min((draws <= 0).mean(), (draws >= 0).mean())
    low, high = found.confidence_interval
    return Estimate(
        Interval(mean, float(low), float(high)), float(min(1.0, max(p, 2 / 10_000))), "items"
    )


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean over seeds with its t interval."""
    return paired(values, confidence).interval


def difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    our_items: Sequence[Sequence[float]] | None = None,
    their_items: Sequence[Sequence[float]] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The paired difference of two arms, by the sharpest sound way the numbers allow.

    With items: over seeds and items, or over items where there is one seed. Without: over seeds.

    Args:
        ours, theirs: [seeds] metrics, of the same seeds in the same order.
        our_items, their_items: [seeds][items] values whose means the metrics are, or None.
        confidence: of the interval.

    Raises:
        UserError: the arms differ in seeds or items.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        raise UserError(f"paired arms need the same seeds, not {a.size} and {b.size} of them")
    if not our_items or not their_items:
        return paired(a - b, confidence)
    x, y = np.asarray(our_items, dtype=np.float64), np.asarray(their_items, dtype=np.float64)
    if x.shape != y.shape:
        raise UserError(f"paired arms need the same items, not {x.shape} and {y.shape} of them")
    if x.shape[1] < 2:
        return paired(a - b, confidence)
    return bootstrap((x - y)[0], confidence) if len(x) == 1 else crossed(x - y, confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm 1979): below 0.05 for any of them errs in 5 % of families."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def verdict(interval: Interval, p_adjusted: float, expect: str, alpha: float = 0.05) -> Verdict:
    """`shown` where the interval excludes 0 in the expected direction and p is below `alpha`.

    Args:
        interval: of the difference.
        p_adjusted: after correction for the number of claims.
        expect: "higher" or "lower".
        alpha: level of the correction.
    """
    if not (interval.low > 0 or interval.high < 0) or p_adjusted >= alpha:
        return "not shown at this budget"
    return "shown" if (interval.low > 0) == (expect == "higher") else "contradicted"


def power(effect: float, sd: float, num_seeds: int, alpha: float = 0.05) -> float:
    """Probability that a paired t test over `num_seeds` seeds sees an effect of that size.

    Args:
        effect: true mean of the paired differences.
        sd: their standard deviation over seeds.
        num_seeds: at least 2.
        alpha: two-sided level.
    """
    from scipy import stats

    if sd <= 0:
        return float(effect != 0)
    df = num_seeds - 1
    shift = abs(effect) / sd * math.sqrt(num_seeds)
    edge = stats.t.isf(alpha / 2, df)
    wrong_side = stats.nct.cdf(-edge, df, shift)  # scipy gives nan where it is far below 1e-16
    return float(stats.nct.sf(edge, df, shift) + np.nan_to_num(wrong_side))


def seeds_needed(differences: ArrayLike, target: float = 0.8) -> int | None:
    """Seeds that show an effect as large as the one observed with probability `target`.

    The observed effect and spread are taken as the true ones, so this is a rough guide.

    Returns:
        The number; None where there is no effect, fewer than two seeds, or more than 1,000 needed.
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) < 2:
        return None
    effect, sd = float(d.mean()), float(d.std(ddof=1))
    if effect == 0 or power(effect, sd, _MOST_SEEDS) < target:
        return None
    low, high = 1, _MOST_SEEDS  # power grows with seeds: bisect, low misses and high reaches it
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, sd, middle) >= target else (middle, high)
    return high


def _student(mean: float, variance: float, df: float, confidence: float, over: Over) -> Estimate:
    from scipy import stats

    if variance <= 0:  # the seeds changed nothing, so they say nothing of other seeds
        return Estimate(Interval(mean, math.nan, math.nan), 1.0, "nothing")
    se = math.sqrt(variance)
    half = float(stats.t.isf((1 - confidence) / 2, df)) * se
    p = float(2 * stats.t.sf(abs(mean) / se, df))
    return Estimate(Interval(mean, mean - half, mean + half), p, over)


def _some(values: NDArray[Any]) -> None:
    if values.size == 0:
        raise UserError("there is nothing to compare: no seed has finished")
    if not np.isfinite(values).all():
        raise UserError("a metric is not a finite number, so the arms cannot be compared")
