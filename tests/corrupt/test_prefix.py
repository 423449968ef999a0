"""Prefix splitting: nothing is lost, the pivot is uniform, neither side is empty."""

import pytest
import torch

from pretrial.corrupt.prefix import prefix_split
from pretrial.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_both_sides_give_the_sequence_and_the_pivot_is_uniform():
    source, ids = generator(), list(range(100))
    shares = []
    for _ in range(2000):
        read, written = prefix_split(ids, generator=source)
        assert read + written == ids
        shares.append(len(read) / 100)
    shares = torch.tensor(shares)
    assert shares.min() >= 0.1
    assert shares.max() <= 0.9
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.var().item() == pytest.approx(0.8**2 / 12, rel=0.1)


@pytest.mark.parametrize("length", [2, 3, 5])
def test_neither_side_of_a_short_sequence_is_empty(length):
    for seed in range(30):
        assert all(prefix_split(range(length), 0.0, 1.0, generator=generator(seed)))


def test_user_mistakes_name_the_mend():
    with pytest.raises(UserError, match="leave texts that short out"):
        prefix_split([1], generator=generator())
    with pytest.raises(UserError, match="low <= high"):
        prefix_split([1, 2], 0.9, 0.1, generator=generator())
