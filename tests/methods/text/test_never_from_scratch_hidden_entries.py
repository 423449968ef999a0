"""Hidden entries: how many, where, and from which draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretrial.methods.text.never_from_scratch.data import hidden_entries


def drawn(lengths: list[int], ratio: float, span: int = 1, seed: int = 0) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return hidden_entries(np.array(lengths), ratio, generator, span)


@pytest.mark.parametrize("span", [1, 3, 5])
def test_counts_are_exact_and_padding_is_left_alone(span: int) -> None:
    lengths = [1, 2, 7, 30, 64]
    hidden = drawn(lengths, 0.5, span)
    assert hidden.shape == (5, 64)
    for row, length in zip(hidden, lengths, strict=True):
        own = min(span, max(1, length // 2))
        assert row.sum() == own * min(max(1, round(0.5 * length / own)), length // own)
        assert not row[length:].any()


def test_spans_stay_whole() -> None:
    hidden = drawn([40] * 50, 0.2, span=4)
    for row in hidden.astype(int):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        assert all((edges[1::2] - edges[::2]) % 4 == 0)


def test_every_entry_is_hidden_as_often() -> None:
    share = drawn([20] * 4000, 0.3).mean(0)
    assert np.abs(share - 0.3).max() < 0.03


def test_a_draw_does_not_depend_on_the_others() -> None:
    alone, beside = drawn([20], 0.5), drawn([20, 33, 8], 0.5)
    assert (alone[0] == beside[0, :20]).all()
