"""Batches of texts of different lengths without their padding.

The tokens of a batch stand in one row of vectors, text after text, so that every linear layer and
norm works on tokens only, and not on padding. Attention alone must keep texts apart. GPUs have
kernels that take the ends of the texts for it; a CPU has none, so texts are sorted by length, those
of one length are one call, and no padding is left there either. Any encoder of texts or of other
sequences of unlike lengths can be written over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a batch stand; it lives on the host, as it decides shapes.

    Attributes:
        shape: of the padded batch (B, T).
        rows: for each packed token its place in the flattened padded batch [N].
        places: for each packed token its number in its text, from 0 [N].
        groups: (number of texts, their length), in the order of the packed tokens.
    """

    shape: tuple[int, int]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    groups: tuple[tuple[int, int], ...]

    def find(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The packed places of positions in the flattened padded batch; -1 where there is none."""
        inverse = np.full(self.shape[0] * self.shape[1], -1)
        inverse[self.rows] = np.arange(len(self.rows))
        return inverse[positions]


def packing(attention_mask: NDArray[np.bool_]) -> Packing:
    """Packs a batch: texts by length, of one length in their order.

    Args:
        attention_mask: True where there is a token, False at padding, on either side [B, T].
    """
    lengths = attention_mask.sum(1)
    order = lengths.argsort(kind="stable")
    texts, columns = attention_mask[order].nonzero()
    lengths = lengths[order]
    starts = lengths.cumsum() - lengths
    found = np.unique(lengths[lengths > 0], return_counts=True)
    return Packing(
        shape=(attention_mask.shape[0], attention_mask.shape[1]),
        rows=order[texts] * attention_mask.shape[1] + columns,
        places=np.arange(len(texts)) - starts[texts],
        groups=tuple((int(count), int(length)) for length, count in zip(*found, strict=True)),
    )


def not_packing(shape: tuple[int, int]) -> Packing:
    """The layout that keeps the padding: every place of the batch counts as a token's."""
    size, length = shape
    places = np.tile(np.arange(length), size)
    return Packing(shape, np.arange(size * length), places, ((size, length),))


def unpad(values: Tensor, layout: Packing) -> Tensor:
    """The packed values [N, ...] of a padded batch [B, T, ...]."""
    return values.flatten(0, 1)[layout.rows]


def pad(packed: Tensor, layout: Packing) -> Tensor:
    """The padded batch [B, T, ...] of packed values [N, ...], with zeros at padding."""
    size, length = layout.shape
    flat = packed.new_zeros(size * length, *packed.shape[1:])
    flat[layout.rows] = packed
    return flat.view(size, length, *packed.shape[1:])


def packed_attention(
    qkv: Tensor,
    layout: Packing,
    bias: Tensor | None = None,
    hidden: Tensor | None = None,
    dropout_prob: float = 0.0,
) -> Tensor:
    """Self-attention within each text.

    Args:
        qkv: queries, keys and values of each head [N, 3, H, D].
        layout: where the texts are.
        bias: added to the scores of the longest text [H, T, T]; shorter ones take its corner.
        hidden: added to the scores of all heads and queries, to hide keys [B, T]; for a layout
            that keeps the padding.
        dropout_prob: of the attention weights.

    Returns:
        [N, H * D]
    """
    outputs = []
    parts = qkv.split([count * length for count, length in layout.groups])
    for part, (count, length) in zip(parts, layout.groups, strict=True):
        heads = part.view(count, length, *qkv.shape[1:]).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind()  # each [B, H, T, D]
        mask = None if bias is None else bias[None, :, :length, :length]
        if hidden is not None:
            keys = hidden[:, None, None, :]
            mask = keys if mask is None else mask + keys
        mixed = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_prob
        )
        outputs.append(mixed.transpose(1, 2).reshape(count * length, -1))
    return torch.cat(outputs)
