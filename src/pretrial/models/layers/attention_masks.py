"""Which positions a transformer may attend to, as one mask that every attention takes alike.

transformers takes several forms of mask and treats some of them badly: a boolean mask of four axes
is ignored by eager attention, one of three axes raises, and a model with `is_decoder=True` makes
any mask of two axes causal. An additive float mask of four axes is added to the scores as it is,
under eager attention and under sdpa.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

AttentionPattern = Literal["bidirectional", "causal", "prefix"]


def key_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores of any query [B, 1, 1, T]: 0, or the lowest number.

    transformers hands a mask of four axes through; one of two it would read back from the device,
    which costs a wait on a GPU and is impossible on the meta device.

    Args:
        attention_mask: True at keys that may be attended to [B, T].
        dtype: that of the model's weights.
    """
    mask = torch.zeros(attention_mask.shape, dtype=dtype, device=attention_mask.device)
    return mask.masked_fill(~attention_mask, torch.finfo(dtype).min)[:, None, None, :]


def additive_mask(
    pattern: AttentionPattern,
    attention_mask: Tensor,
    prefix_lengths: Tensor | None = None,
    *,
    num_queries: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """A mask to add to attention scores: 0 where a position is seen, else the lowest number.

    Padding, on either side, is never seen but by itself: no row is without a position to see, so
    no softmax is over nothing.

    Args:
        pattern: who sees whom. "bidirectional": all see all. "causal": each sees itself and what
            stands before it. "prefix": the first tokens see each other and nothing else, the
            others see these and, among themselves, as in "causal".
        attention_mask: True where there is a token, False at padding [B, T].
        prefix_lengths: tokens of each prefix, padding not counted [B]; for "prefix" only.
        num_queries: rows for the last so many positions alone, where a cache holds the others; None
            for all T.
        dtype: that of the model's weights.

    Returns:
        [B, 1, num_queries, T]
    """
    assert (pattern == "prefix") == (prefix_lengths is not None), "prefix_lengths go with 'prefix'"
    length = attention_mask.shape[1]
    first = 0 if num_queries is None else length - num_queries
    keys = torch.arange(length, device=attention_mask.device)
    queries = keys[first:, None]  # [Q, 1]
    seen = attention_mask[:, None, :]  # [B, 1, T]
    if pattern != "bidirectional":
        allowed = (keys <= queries)[None]  # [1, Q, T]
        if prefix_lengths is not None:
            inside = attention_mask.cumsum(-1) <= prefix_lengths[:, None]  # [B, T]
            allowed = allowed | (inside[:, first:, None] & inside[:, None, :])
        seen = seen & allowed
    seen = seen | (keys == queries)  # [B, Q, T]
    mask = torch.zeros(seen.shape, dtype=dtype, device=attention_mask.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None]
