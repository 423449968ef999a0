"""Counts of tokens, the cache beside them, and what a model adds to both."""

from __future__ import annotations

import numpy as np
import pytest

from pretrial.compare.kit import beside_counts
from pretrial.compare.kit.beside_counts import Passage, TokenTrigrams, cached

LEARNT = [[0, 1, 2, 3], [0, 1, 2, 2], [3, 1, 2, 3]]


def passages(rows):
    return [Passage([], row, 2 * len(row), number) for number, row in enumerate(rows)]


def test_counts_are_mixed_with_shorter_ones_as_worked_out_by_hand():
    counts = TokenTrigrams(LEARNT, 5)
    one = (3 + 4 * (1 / 5)) / (12 + 4)  # "3" of 12 tokens of 4 kinds, mixed with 1 of 5
    two = (2 + 2 * one) / (3 + 2)  # behind "2" stood 3, 2 and 3
    three = (2 + 2 * two) / (3 + 2)  # behind "1 2" likewise
    assert counts.probs([0, 1, 2, 3])[3] == pytest.approx(three)
    unseen = counts.probs([4, 4, 3])  # what stands before it was never seen
    assert unseen[2] == pytest.approx(one)
    assert unseen[0] > 0


@pytest.mark.parametrize("before", [[], [0], [0, 1], [4, 2]])
def test_probabilities_of_all_tokens_sum_to_one(before):
    counts = TokenTrigrams(LEARNT, 5)
    total = sum(counts.probs([*before, token])[-1] for token in range(5))
    assert total == pytest.approx(1.0)


def test_the_cache_holds_what_stands_before():
    assert cached(Passage([7, 7, 8], [8, 7, 8], 3, "m")).tolist() == [1 / 3, 2 / 4, 2 / 5]
    assert cached(Passage([], [1], 1, "m")).tolist() == [0.0]


def test_a_model_that_knows_gains_and_one_that_knows_nothing_does_not_lose():
    counts = TokenTrigrams(LEARNT, 5)
    halves = [passages([[4, 0, 3], [2, 4, 4]] * 10), passages([[4, 4, 1], [0, 3, 3]] * 10)]
    alone = beside_counts.measure(None, counts, halves)
    assert alone.keys() == {"code_bits"}

    def knowing(half):
        return [np.full(len(each.ids), 0.5) for each in half]

    def ignorant(half):
        return [np.zeros(len(each.ids)) for each in half]

    found = beside_counts.measure(knowing, counts, halves)
    assert found["own_bits"].values == pytest.approx([0.5] * 20)  # a bit a token of two bytes
    assert found["code_bits"].groups == list(range(20))
    assert np.mean(found["code_bits"].values) < np.mean(alone["code_bits"].values)
    same = beside_counts.measure(ignorant, counts, halves)
    assert same["code_bits"].values == pytest.approx(alone["code_bits"].values, abs=1e-3)
