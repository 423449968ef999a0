"""Cross-attention that reads one encoding of a prompt for all of its samples.

Decoding in transformers keeps a copy of the encoder's keys and values for each row. A T5 of 770 M
parameters with a prompt of 600 tokens holds 118 MB of them a row in float32, and reading them is
most of a small model's step. Here the rows of a prompt are the queries of one attention product, so
that keys and values exist, and are read, once a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "pretrial_shared"
# Their attention layers say which of them are causal, and hand on keyword arguments.
_MODEL_TYPES = ("t5", "mt5")
# Groups are filled up to the largest; beyond this the copies are cheaper.
_MOST_SLOTS_PER_ROW = 2


class Sharing:
    """Which prompt each row of a batch belongs to.

    Args:
        owner: place of each row's prompt [rows]; every prompt owns a row.
    """

    def __init__(self, owner: Tensor) -> None:
        counts = owner.bincount()
        self.num_prompts, self.group_size = len(counts), int(counts.max())
        order = owner.argsort(stable=True)
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(owner), device=owner.device) - first[owner[order]]
        self.slot = torch.empty_like(owner)  # [rows], places in [num_prompts x group_size]
        self.slot[order] = owner[order] * self.group_size + rank
        self.row = owner.new_zeros(self.num_prompts * self.group_size)  # row 0 fills the gaps
        self.row[self.slot] = torch.arange(len(owner), device=owner.device)

    @property
    def worthwhile(self) -> bool:
        """False where nothing is shared, or where filling up groups costs more than copies do."""
        return self.group_size > 1 and len(self.row) <= _MOST_SLOTS_PER_ROW * len(self.slot)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None
    ) -> Tensor:
        """Attention of rows to their prompts.

        Args:
            query: [rows, heads, new, width].
            key: [prompts, heads, source, width].
            value: [prompts, heads, source, width].
            mask: True or 0 where attended to, [prompts, 1, new, source], alike for all new tokens.
            scaling: factor of the scores.

        Returns:
            [rows, new, heads, width]
        """
        _, heads, new, width = query.shape
        grouped = query[self.row].view(self.num_prompts, self.group_size, heads, new, width)
        output = scaled_dot_product_attention(
            grouped.transpose(1, 2).reshape(self.num_prompts, heads, -1, width),
            key,
            value,
            attn_mask=None if mask is None else mask[:, :, :1],
            scale=scaling,
        )
        output = output.view(self.num_prompts, heads, self.group_size, new, -1).transpose(1, 2)
        return output.reshape(len(self.row), heads, new, -1)[self.slot].transpose(1, 2)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sharing: Sharing | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: sdpa, but for cross-attention given `sharing`."""
    if sharing is None or module.is_causal:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    output = sharing.attend(query, key, value, attention_mask, kwargs.get("scaling"))
    return output.contiguous(), None


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)


@contextmanager
def sharing_attention(model: PreTrainedModel) -> Iterator[None]:
    """Lets a model's cross-attention be shared inside, where it is of a kind that can."""
    before = model.config._attn_implementation
    if model.config.model_type not in _MODEL_TYPES or before != "sdpa":
        yield
        return
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def can_share(model: PreTrainedModel) -> bool:
    """True inside `sharing_attention` for a model that can."""
    return model.config._attn_implementation == _NAME
