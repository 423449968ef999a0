"""A reservoir is a uniform sample of the stream."""

import pytest
from scipy.stats import chisquare

from pretrial.data.reading.reservoir import Reservoir
from pretrial.errors import UserError


def test_every_item_is_kept_equally_often():
    counts = [0] * 40
    for seed in range(2000):
        memory = Reservoir(8, seed)
        memory.add(range(15))
        memory.add(range(15, 40))
        assert len(memory) == 8
        assert len(set(memory)) == 8
        for item in memory:
            counts[item] += 1
    assert sum(counts) == 2000 * 8
    assert chisquare(counts).pvalue > 1e-3


def test_a_reservoir_that_goes_on_is_uniform_too():
    counts = [0] * 30
    for seed in range(2000):
        first = Reservoir(6, seed)
        first.add(range(20))
        second = Reservoir(6, seed + 10_000, first.items, first.num_seen)
        second.add(range(20, 30))
        for item in second:
            counts[item] += 1
    assert chisquare(counts).pvalue > 1e-3


def test_short_streams_are_kept_whole_and_seeds_decide():
    memory = Reservoir(5, 0)
    memory.add("abc")
    assert memory.items == ["a", "b", "c"]
    assert memory.num_seen == 3

    def sample(seed):
        memory = Reservoir(5, seed)
        memory.add(range(100))
        return memory.items

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert len(Reservoir(3, 0, items=range(10))) == 3
    with pytest.raises(UserError, match="at least 1"):
        Reservoir(0, 0)
