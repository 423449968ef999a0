"""Attention as the kernels of GPUs keep it: inputs and output, and never the matrix of weights.

For measuring with shapes alone: without a device torch takes attention apart, and what it keeps
then grows with the square of the length.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class FusedAttention(TorchFunctionMode):
    """Inside, `scaled_dot_product_attention` keeps and computes what a fused kernel does."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    return _Fused.apply(query, key, value, attn_mask)


class _Fused(torch.autograd.Function):
    """Shapes and products of attention; its numbers are of no use."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        repeat = query.shape[-3] // key.shape[-3] if query.ndim > 3 else 1
        keys, values = (part.repeat_interleave(repeat, -3) for part in (key, value))
        out = (query @ keys.transpose(-2, -1)) @ values  # [B, H, T, d]
        if out.ndim > 3 and query.transpose(-3, -2).is_contiguous():
            # laid out as the query is, [B, T, H, d], which what follows takes without a copy
            out = out.transpose(-3, -2).contiguous().transpose(-3, -2)
        ctx.save_for_backward(query, key, value, out, out[..., 0].clone(), mask)
        ctx.repeat = repeat
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, _, _, mask = ctx.saved_tensors
        (grad,) = grads
        keys, values = (part.repeat_interleave(ctx.repeat, -3) for part in (key, value))
        weights = query @ keys.transpose(-2, -1)  # computed again, as kernels do
        scores = grad @ values.transpose(-2, -1)
        parts = (scores @ keys, scores.transpose(-2, -1) @ query, weights.transpose(-2, -1) @ grad)
        own = [
            part if part.shape == whole.shape else part.unflatten(-3, (-1, ctx.repeat)).sum(-3)
            for part, whole in zip(parts, (query, key, value), strict=True)
        ]
        needs_mask = mask is not None and ctx.needs_input_grad[3]
        return (*own, torch.zeros_like(mask) if needs_mask else None)
