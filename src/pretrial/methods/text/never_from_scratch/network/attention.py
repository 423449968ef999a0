"""Self-attention over long sequences: all of one, its past alone, or blocks side by side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SequenceAttention(nn.Module):
    """Multi-head self-attention.

    Args:
        width: of the states.
        num_heads: divides the width.
        causal: a position sees itself and what stands before it.
        rotary: queries and keys are turned by their positions (RoPE, base 10,000).
        window: positions of a block; a position sees its own block and those beside it, of which
            causal ones see the one before. 0 has no blocks.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        causal: bool = False,
        rotary: bool = False,
        window: int = 0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.causal = causal
        self.rotary = rotary
        self.window = window
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """States [B, T, d] to states.

        Args:
            states: [B, T, d].
            attention_mask: True where there is an entry, False at padding, which stands behind
                [B, T]; None: everywhere.
        """
        query, key, value = (
            layer(states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # [B, h, T, d / h]
        if self.rotary:
            query, key = turned(query), turned(key)
        if self.window:
            mixed = block_attention(query, key, value, self.window, attention_mask, self.causal)
        elif self.causal:  # padding stands behind, where nobody looks
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            seen = None if attention_mask is None else attention_mask[:, None, None, :]
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.output(mixed.transpose(1, 2).flatten(2))


def turned(vectors: Tensor, base: float = 10_000.0) -> Tensor:
    """Vectors [..., T, d], whose halves are turned by angles that grow with the position."""
    length, half = vectors.shape[-2], vectors.shape[-1] // 2
    rates = base ** (-torch.arange(half, device=vectors.device) / half)
    angles = torch.arange(length, device=vectors.device)[:, None] * rates  # [T, d / 2]
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    one, other = vectors[..., :half], vectors[..., half:]
    return torch.cat([one * cos - other * sin, other * cos + one * sin], -1)


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    attention_mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Attention in blocks (section 2), whose work and memory grow with T times the window.

    Args:
        query: [B, h, T, d], as `key` and `value`.
        key: see `query`.
        value: see `query`.
        window: positions of a block.
        attention_mask: True where there is an entry [B, T]; None: everywhere.
        causal: see the block before and what stands before oneself; else the blocks on both sides.

    Returns:
        [B, h, T, d]
    """
    size, _, length, _ = query.shape
    count = -(-length // window)
    extra = count * window - length
    if attention_mask is None:
        attention_mask = torch.ones(size, length, dtype=torch.bool, device=query.device)
    sides = 2 if causal else 3

    def blocks(states: Tensor) -> Tensor:  # [B, h, T, d] to [B, n, h, w, d]
        return F.pad(states, (0, 0, 0, extra)).unflatten(2, (count, window)).transpose(1, 2)

    def around(parts: Tensor) -> Tensor:  # each block with its neighbours, along the last but one
        wider = F.pad(parts, (0, 0) * (parts.ndim - 2) + (1, sides - 2))
        return torch.cat([wider[:, side : side + count] for side in range(sides)], -2)

    keys, values = (around(blocks(states)) for states in (key, value))  # [B, n, h, s w, d]
    places = torch.arange(window, device=query.device)
    others = torch.arange(sides * window, device=query.device) - window
    seen = around(blocks(attention_mask[:, None, :, None]))[
        :, :, :, None, :, 0
    ]  # [B, n, 1, 1, s w]
    if causal:
        seen = seen & (others <= places[:, None])
    seen = seen | (others == places[:, None])  # no softmax over nothing, also at padding
    mixed = F.scaled_dot_product_attention(
        blocks(query).flatten(0, 1),
        keys.flatten(0, 1),
        values.flatten(0, 1),
        attn_mask=seen.flatten(0, 1),
    )
    whole = mixed.unflatten(0, (size, count)).transpose(1, 2).flatten(2, 3)
    return whole[:, :, :length]
