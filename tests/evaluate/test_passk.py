"""pass@k and n@k against enumeration, and the intervals against what is known of them."""

import itertools

import numpy as np
import pytest

from pretrial.errors import UserError
from pretrial.evaluate.passk import (
    bootstrap_difference,
    bootstrap_mean,
    measure_programs,
    n_at_k,
    pass_at_k,
)


def enumerated(correct, size):
    """Share of the subsets of `size` that hold a correct sample."""
    subsets = list(itertools.combinations(correct, size))
    return sum(map(any, subsets)) / len(subsets)


def test_pass_at_k_equals_enumeration():
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                want = enumerated([True] * c + [False] * (n - c), k)
                assert pass_at_k(n, c, k) == pytest.approx(want, abs=1e-12)


def test_n_at_k_equals_enumeration():
    for kept in range(9):
        for c in range(kept + 1):
            for n in range(1, 9):
                samples = [True] * c + [False] * (kept - c)
                want = enumerated(samples, min(n, kept)) if kept else 0.0
                assert n_at_k(kept, c, n) == pytest.approx(want, abs=1e-12)


def test_large_counts_do_not_overflow():
    assert pass_at_k(1000, 1, 1000) == 1.0
    assert pass_at_k(1000, 5, 1) == pytest.approx(0.005)
    assert pass_at_k(200, 0, 100) == 0.0


@pytest.mark.parametrize("k", [0, 6])
def test_impossible_k_is_refused(k):
    with pytest.raises(UserError, match=f"pass@{k}"):
        pass_at_k(5, 2, k)


def test_no_problems_are_refused():
    with pytest.raises(UserError, match="no problems"):
        measure_programs(None, [])


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        interval = bootstrap_mean(rng.random(60) < 0.3, num_resamples=300, seed=seed)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.89 <= hits / 200 <= 0.99


def test_pairing_removes_the_variance_between_problems():
    rng = np.random.default_rng(0)
    difficulty = rng.random(200)
    ours, theirs = difficulty + 0.01 + rng.normal(0, 0.005, 200), difficulty
    paired = bootstrap_difference(ours, theirs)
    assert paired.value == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert 0 < paired.low < paired.high < 0.02
    alone = bootstrap_mean(ours)
    assert alone.high - alone.low > 20 * (paired.high - paired.low)


def test_seed_decides_and_arms_must_match():
    values = np.linspace(0, 1, 30)
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)
    assert bootstrap_mean([0.5]) == bootstrap_mean([0.5] * 7)
    with pytest.raises(UserError, match="same items"):
        bootstrap_difference([1.0, 2.0], [1.0])
    with pytest.raises(UserError, match="no items"):
        bootstrap_mean([])
