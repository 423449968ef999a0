"""Batches without padding, and linear biases: the same numbers as with padding."""

import numpy as np
import pytest
import torch

from pretrial.models.layers.alibi import alibi_bias, alibi_slopes
from pretrial.models.layers.packing import (
    not_packing,
    packed_attention,
    packing,
    pad,
    unpad,
)

LENGTHS = [5, 2, 7, 5, 0, 7, 1]


@pytest.fixture(params=["right", "left"])
def real(request):
    columns = np.arange(9)
    return np.array(
        [
            columns < length if request.param == "right" else columns >= 9 - length
            for length in LENGTHS
        ]
    )


def test_texts_of_one_length_stand_together_and_none_is_lost(real):
    layout = packing(real)
    assert layout.groups == ((1, 1), (1, 2), (2, 5), (2, 7))
    assert sorted(layout.rows.tolist()) == real.flatten().nonzero()[0].tolist()
    assert layout.places.tolist() == [
        *range(1),
        *range(2),
        *range(5),
        *range(5),
        *range(7),
        *range(7),
    ]
    assert layout.rows[3:8].tolist() == (np.flatnonzero(real[0])).tolist()


def test_padding_again_gives_the_batch_back(real):
    layout = packing(real)
    values = torch.randn(7, 9, 3)
    again = pad(unpad(values, layout), layout)
    assert torch.equal(again, values * torch.tensor(real)[..., None])


def test_packed_places_are_found(real):
    layout = packing(real)
    assert layout.find(layout.rows[[4, 0, 9]]).tolist() == [4, 0, 9]
    assert layout.find(np.flatnonzero(~real.flatten())).max() == -1


def test_attention_without_padding_is_attention_with_a_mask(real):
    qkv = torch.randn(7, 9, 3, 4, 8, dtype=torch.double, requires_grad=True)
    bias = alibi_bias(4, 9, qkv.detach())
    hidden = torch.zeros(7, 9, dtype=torch.double).masked_fill(~torch.tensor(real), -1e9)
    layout, whole = packing(real), not_packing((7, 9))
    packed = packed_attention(unpad(qkv, layout), layout, bias)
    padded = unpad(packed_attention(unpad(qkv, whole), whole, bias, hidden).view(7, 9, 32), layout)
    torch.testing.assert_close(packed, padded, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(packed)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), qkv)[0] for out in (packed, padded))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_slopes_of_a_power_of_two_and_of_twelve_heads():
    assert alibi_slopes(8) == [2.0**-k for k in range(1, 9)]
    assert alibi_slopes(12) == [2.0**-k for k in range(1, 9)] + [
        2.0**-k for k in (0.5, 1.5, 2.5, 3.5)
    ]


@pytest.mark.parametrize("num_heads", [1, 4, 12])
def test_the_bias_is_symmetric_falls_with_distance_and_holds_that_of_shorter_texts(num_heads):
    bias = alibi_bias(num_heads, 20, torch.zeros(1))
    assert torch.equal(bias, bias.transpose(1, 2))
    assert (bias.diagonal(dim1=1, dim2=2) == 0).all()
    assert (bias[:, 0, 1:] < bias[:, 0, :-1]).all()
    assert torch.equal(bias[:, :7, :7], alibi_bias(num_heads, 7, torch.zeros(1)))
    slope = torch.tensor(alibi_slopes(num_heads))
    torch.testing.assert_close(bias[:, 3, 8], -5 * slope)
