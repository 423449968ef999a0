"""Attention over long sequences: blocks, the past alone, turned positions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pretrial.methods.text.never_from_scratch.network.attention import (
    SequenceAttention,
    block_attention,
    turned,
)


def dense(query, key, value, window, causal, mask):
    """Attention over all pairs, with a mask that says who sees whom."""
    places = torch.arange(query.shape[2])
    blocks = places // window
    seen = (blocks[:, None] - blocks).abs() <= 1
    if causal:
        seen = seen & (places <= places[:, None])
    seen = (seen & mask[:, None, :]) | torch.eye(len(places), dtype=torch.bool)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 3, 4, 10, 16])
def test_blocks_see_themselves_and_their_neighbours(window, causal) -> None:
    query, key, value = torch.randn(3, 2, 2, 10, 8)
    mask = torch.arange(10) < torch.tensor([[10], [6]])
    found = block_attention(query, key, value, window, mask, causal)
    expected = dense(query, key, value, window, causal, mask)
    keep = mask[:, None, :, None].expand_as(found)
    torch.testing.assert_close(found[keep], expected[keep], rtol=1e-4, atol=1e-5)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("window", [0, 4])
def test_causal_attention_does_not_look_ahead(window) -> None:
    layer = SequenceAttention(16, 2, causal=True, window=window)
    states = torch.randn(2, 11, 16)
    other = states.clone()
    other[:, 7:] = 0.0
    torch.testing.assert_close(layer(states)[:, :7], layer(other)[:, :7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [0, 4])
def test_padding_decides_nothing(window) -> None:
    layer = SequenceAttention(16, 2, window=window)
    states = torch.randn(2, 7, 16)
    wide = torch.cat([states, torch.randn(2, 5, 16)], 1)
    mask = torch.arange(12).expand(2, -1) < 7
    torch.testing.assert_close(layer(wide, mask)[:, :7], layer(states), rtol=1e-4, atol=1e-5)


def test_turned_products_depend_on_distance_alone() -> None:
    query, key = torch.randn(2, 8)
    queries, keys = (turned(each.expand(12, 8)) for each in (query, key))
    scores = queries @ keys.T
    for shift in range(1, 5):
        torch.testing.assert_close(scores[:-shift, :-shift], scores[shift:, shift:])
    torch.testing.assert_close(queries.norm(dim=-1), query.norm().expand(12))
