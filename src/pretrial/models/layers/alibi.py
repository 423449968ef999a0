"""Attention with linear biases: the farther away a token stands, the less it is attended to.

Nothing is learned, so a model reads texts longer than those it was trained on. The bias is added to
the scores of any attention, in one direction or in both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def alibi_slopes(num_heads: int) -> list[float]:
    """How fast each head's attention falls with distance (Press and others, 2108.12409, section 3).

    For a power of two they are 2^(-8k/H), k = 1 to H; otherwise those of the next lower power of
    two, then every second one of the next higher.
    """
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * k / power) for k in range(1, power + 1)]
    between = [2 ** (-4 * k / power) for k in range(1, 2 * power + 1, 2)]
    return slopes + between[: num_heads - power]


def alibi_bias(num_heads: int, length: int, like: Tensor) -> Tensor:
    """What is added to attention scores [H, T, T]: -slope * distance, the same both ways.

    Under a causal mask it is the causal bias. Its upper left corner is that of a shorter text.

    Args:
        num_heads: H.
        length: T.
        like: gives the device and the type.
    """
    places = torch.arange(length, device=like.device)
    distances = (places[:, None] - places).abs().to(like.dtype)  # [T, T]
    slopes = torch.tensor(alibi_slopes(num_heads), dtype=like.dtype, device=like.device)
    return -slopes[:, None, None] * distances
