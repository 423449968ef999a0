"""Intervals hold the truth as often as they say; verdicts err as rarely as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pretrial.compare import stats
from pretrial.compare.stats import Interval
from pretrial.errors import UserError

SIMULATIONS = 2000


def coverage(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


@pytest.mark.parametrize("num_seeds", [3, 5])
def test_paired_interval_covers(num_seeds: int) -> None:
    rng = np.random.default_rng(num_seeds)
    found = [
        stats.paired(0.3 + 0.2 * rng.standard_normal(num_seeds)).interval
        for _ in range(SIMULATIONS)
    ]
    assert 0.93 <= coverage(found, 0.3) <= 0.97


# Spread of the difference by seed, by item, and the rest.
@pytest.mark.parametrize("spreads", [(0.02, 0.3, 0.5), (0.1, 0.05, 0.5), (0.03, 0.3, 0.3)])
def test_crossed_interval_covers_for_new_seeds_and_new_items(spreads) -> None:
    by_seed, by_item, rest = spreads
    rng = np.random.default_rng(7)
    found = []
    for _ in range(SIMULATIONS):
        table = 0.05 + by_seed * rng.standard_normal((5, 1)) + by_item * rng.standard_normal(80)
        found.append(stats.crossed(table + rest * rng.standard_normal((5, 80))).interval)
    assert 0.93 <= coverage(found, 0.05) <= 0.97


def test_crossed_interval_covers_for_programs_that_pass_or_fail() -> None:
    rng = np.random.default_rng(8)
    found = []
    for _ in range(SIMULATIONS):
        hardness = rng.normal(-0.5, 1.5, 100)
        gain = rng.normal(0.0, 0.5, 100) + rng.normal(0.0, 0.2, (5, 1))
        ours = rng.random((5, 100)) < 1 / (1 + np.exp(-(hardness + gain)))
        theirs = rng.random((5, 100)) < 1 / (1 + np.exp(-hardness))
        found.append(stats.crossed(ours.astype(float) - theirs).interval)
    truth = 0.0  # gains are symmetric about 0, and so is their effect up to 0.003
    assert 0.93 <= coverage(found, truth) <= 0.97


def test_bootstrap_interval_covers_for_skewed_items() -> None:
    rng = np.random.default_rng(9)
    found = [
        stats.bootstrap(rng.choice([-1, 0, 1], 200, p=[0.05, 0.75, 0.2])).interval
        for _ in range(SIMULATIONS // 10)
    ]
    assert 0.90 <= coverage(found, 0.15) <= 0.985  # 200 simulations: +-3 % is two deviations


def test_seeds_alone_would_claim_too_much_about_new_items() -> None:
    """The reason for `crossed`: an interval over seeds does not hold for items not measured."""
    rng = np.random.default_rng(10)
    found = []
    for _ in range(500):
        table = 0.5 * rng.standard_normal(40) + 0.1 * rng.standard_normal((5, 40))
        found.append(stats.paired(table.mean(axis=1)).interval)
    assert coverage(found, 0.0) < 0.7


def test_false_positives_at_nominal_rate_and_true_effects_found() -> None:
    rng = np.random.default_rng(11)

    def verdicts(effect: float) -> list[str]:
        made = []
        for _ in range(SIMULATIONS):
            estimate = stats.paired(effect + rng.standard_normal(5))
            made.append(stats.verdict(estimate.interval, estimate.p, "higher"))
        return made

    null = verdicts(0.0)
    for kind in ("shown", "contradicted"):
        assert 0.015 <= null.count(kind) / SIMULATIONS <= 0.035  # 2.5 % on either side
    strong = verdicts(2.0)
    expected = stats.power(2.0, 1.0, 5)
    assert strong.count("shown") / SIMULATIONS == pytest.approx(expected, abs=0.03)
    assert verdicts(-2.0).count("contradicted") == pytest.approx(
        strong.count("shown"), abs=0.05 * SIMULATIONS
    )


def test_holm_keeps_the_family_error_and_uncorrected_does_not() -> None:
    rng = np.random.default_rng(12)
    corrected = plain = 0
    for _ in range(SIMULATIONS):
        found = [stats.paired(rng.standard_normal(5)) for _ in range(4)]
        adjusted = stats.holm([e.p for e in found])
        made = [
            stats.verdict(e.interval, p, "higher") for e, p in zip(found, adjusted, strict=True)
        ]
        corrected += any(v != "not shown at this budget" for v in made)
        plain += any(e.p < 0.05 for e in found)
    assert corrected / SIMULATIONS <= 0.065
    assert plain / SIMULATIONS > 0.15


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.9]) == [0.9]
    assert stats.holm([]) == []


def test_paired_by_hand() -> None:
    estimate = stats.paired([1.0, 2.0, 3.0])
    assert estimate.interval.value == 2.0
    assert estimate.interval.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_crossed_without_item_effect_is_the_interval_over_seeds() -> None:
    table = np.array([[0.1], [0.3], [0.2]]) + np.zeros((3, 50))
    a, b = stats.crossed(table).interval, stats.paired(table.mean(axis=1)).interval
    assert (a.low, a.high) == pytest.approx((b.low, b.high))


def test_seeds_needed_reach_the_power_they_promise() -> None:
    differences = [0.3, -0.2, 0.6, 0.1, 0.2]
    effect, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))
    count = stats.seeds_needed(differences)
    assert count is not None
    assert stats.power(effect, sd, count) >= 0.8 > stats.power(effect, sd, count - 1)
    rng = np.random.default_rng(13)
    seen = [stats.paired(effect + sd * rng.standard_normal(count)).p < 0.05 for _ in range(1000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("differences", [[0.5], [1.0, -1.0], [1e-6, -1.0, 1.0]])
def test_seeds_needed_is_unknown_where_nothing_can_be_said(differences) -> None:
    assert stats.seeds_needed(differences) is None


def test_difference_takes_the_sharpest_sound_way() -> None:
    rng = np.random.default_rng(14)
    ours, theirs = rng.random((3, 30)), rng.random((3, 30))
    means = ours.mean(axis=1), theirs.mean(axis=1)
    assert stats.difference(*means).over == "seeds"
    assert stats.difference(*means, ours.tolist(), theirs.tolist()).over == "seeds and items"
    one = stats.difference(means[0][:1], means[1][:1], ours[:1].tolist(), theirs[:1].tolist())
    assert one.over == "items"
    single = stats.difference([0.5], [0.1])
    assert single.over == "nothing"
    assert stats.verdict(single.interval, single.p, "higher") == "not shown at this budget"


@pytest.mark.parametrize("estimate", [stats.paired, lambda d: stats.crossed(np.outer(d, [1, 1]))])
def test_seeds_that_change_nothing_show_nothing(estimate) -> None:
    found = estimate(np.full(3, 0.25))
    assert (found.interval.value, found.p, found.over) == (0.25, 1.0, "nothing")
    assert math.isnan(found.interval.low)


def test_difference_refuses_what_is_not_paired() -> None:
    with pytest.raises(UserError, match="same seeds"):
        stats.difference([1.0, 2.0], [1.0])
    with pytest.raises(UserError, match="same items"):
        stats.difference([1.0], [1.0], [[1.0, 0.0]], [[1.0]])
    with pytest.raises(UserError, match="not a finite number"):
        stats.difference([math.nan, 1.0], [1.0, 1.0])
