"""Draws of many rows: each row's own, uniform, exact in number."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from pretrial.corrupt.draws import (
    choose,
    choose_few,
    row_bits,
    row_integers,
    row_seeds,
    row_uniform,
)

SEEDS = row_seeds(4000, torch.Generator().manual_seed(0))


def test_a_row_draws_the_same_alone_and_among_others():
    whole = row_bits(SEEDS[:8], 20, stream=1)
    assert np.array_equal(row_bits(SEEDS[3:4], 20, stream=1)[0], whole[3])
    assert np.array_equal(row_bits(SEEDS[:8], 5, stream=1), whole[:, :5])
    assert not np.array_equal(row_bits(SEEDS[:8], 20, stream=2), whole)


def test_seeds_are_the_same_at_once_and_in_parts():
    generator = torch.Generator().manual_seed(1)
    parts = np.concatenate([row_seeds(n, generator) for n in (2, 2, 3)])
    assert np.array_equal(parts, row_seeds(7, torch.Generator().manual_seed(1)))


def test_numbers_are_uniform_and_places_independent():
    numbers = row_uniform(SEEDS, 10, stream=0)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    assert chisquare(counts).pvalue > 0.001
    correlations = np.corrcoef(numbers.T) - np.eye(10)
    assert abs(correlations).max() < 0.07
    integers = row_integers(SEEDS, 6, np.full(len(SEEDS), 7), stream=0)
    assert chisquare(np.bincount(integers.ravel(), minlength=7)).pvalue > 0.001


@pytest.mark.parametrize(("size", "count"), [(20, 3), (8, 8), (40, 1), (9, 5)])
def test_choices_are_exact_in_number_and_equally_likely(size, count):
    sizes, counts = np.full(len(SEEDS), size), np.full(len(SEEDS), count)
    chosen = choose(SEEDS, sizes, counts, stream=3)
    assert (chosen.sum(1) == count).all()
    few = choose_few(SEEDS, sizes, counts, stream=3).reshape(len(SEEDS), count)
    assert (np.diff(few) > 0).all()
    for times in (chosen.sum(0), np.bincount(few.ravel(), minlength=size)):
        expected = len(SEEDS) * count / size
        assert times == pytest.approx(expected, abs=5 * expected**0.5)
    if count < size:  # pairs of neighbours: places are not only right one by one
        both = chosen[:, 0] & chosen[:, 1]
        expected = count * (count - 1) / (size * (size - 1))
        assert both.mean() == pytest.approx(expected, abs=0.02)


def test_rows_may_differ_in_size_and_choose_nothing():
    chosen = choose(SEEDS[:3], np.array([0, 5, 2]), np.array([0, 5, 0]), stream=1)
    assert chosen.sum(1).tolist() == [0, 5, 0]
    assert choose(SEEDS[:1], np.array([0]), np.array([0]), stream=1).tolist() == [[False]]
    few = choose_few(SEEDS[:3], np.array([9, 50, 400]), np.array([2, 1, 3]), stream=1)
    assert len(few) == 6
    assert few[:2].max() < 9
    alone = choose_few(SEEDS[1:2], np.array([50]), np.array([1]), stream=1)
    assert alone[0] == few[2]


def test_many_draws_make_up_for_repeated_ones():
    """Four places of sixteen, for so many rows that some draw the same place again and again."""
    sizes, counts = np.full(len(SEEDS), 16), np.full(len(SEEDS), 4)
    few = choose_few(SEEDS, sizes, counts, stream=0).reshape(-1, 4)
    assert (np.diff(few) > 0).all()
    assert few.max() == 15
