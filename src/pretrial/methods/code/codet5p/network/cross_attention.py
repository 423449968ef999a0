"""Cross-attention put into a causal language model that was trained without one.

The new attention stands beside the self-attention of a layer: it has the same input, and its output
is added to the other's. So it needs no change of the layer's own code, works for any architecture
of transformers whose layers have one self-attention, and without it the model is what it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from pretrial.errors import UserError

_ATTENTIONS = ("self_attn", "attn", "attention")


class CrossAttention(nn.Module):
    """Attention of a decoder's positions to an encoder's states: 4 d^2 weights, no biases.

    `memory` is set before the decoder runs. It computes in its own type, whatever the decoder's.

    Args:
        width: d, of the decoder.
        num_heads: that share it.
        rotary_dim: numbers of each head that are rotated by their position, in neighbouring pairs
            as in GPT-J; 0 for none.

    Attributes:
        memory: states [B, S, d] and True where they are no padding [B, S]; None reads nothing.
        offset: position of the first query.
    """

    def __init__(self, width: int, num_heads: int, rotary_dim: int = 0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.rotary_dim = rotary_dim
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.normal_(layer.weight, std=0.02)
        self.memory: tuple[Tensor, Tensor] | None = None
        self.offset = 0

    def forward(self, hidden: Tensor) -> Tensor:
        """What the positions [B, T, d] read, in their type [B, T, d]."""
        assert self.memory is not None
        states, is_state = self.memory
        inside = self.q_proj.weight.dtype
        query = self._rotated(self._heads(self.q_proj(hidden.to(inside))), self.offset)
        key = self._rotated(self._heads(self.k_proj(states.to(inside))), 0)
        value = self._heads(self.v_proj(states.to(inside)))
        read = scaled_dot_product_attention(query, key, value, attn_mask=is_state[:, None, None, :])
        return self.out_proj(read.transpose(1, 2).flatten(2)).to(hidden.dtype)

    def _heads(self, rows: Tensor) -> Tensor:
        """[B, T, d] as [B, heads, T, d / heads]."""
        return rows.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _rotated(self, rows: Tensor, offset: int) -> Tensor:
        """Rows [B, heads, T, width], their first numbers turned by their positions."""
        if not self.rotary_dim:
            return rows
        steps = torch.arange(0, self.rotary_dim, 2, device=rows.device) / self.rotary_dim
        places = torch.arange(offset, offset + rows.shape[2], device=rows.device)
        angles = (places[:, None] * 10_000.0**-steps).to(rows.dtype)  # [T, rotary_dim / 2]
        turned, rest = rows[..., : self.rotary_dim], rows[..., self.rotary_dim :]
        one, other = turned[..., ::2], turned[..., 1::2]
        sin, cos = angles.sin(), angles.cos()
        pairs = torch.stack([one * cos - other * sin, other * cos + one * sin], dim=-1)
        return torch.cat([pairs.flatten(-2), rest], dim=-1)

    def add(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        """A forward hook of the self-attention: its output with what was read added."""
        if self.memory is None:
            return output
        hidden = args[0] if args else kwargs["hidden_states"]
        if isinstance(output, tuple):
            return (output[0] + self(hidden), *output[1:])
        return output + self(hidden)


def add_cross_attention(decoder: Any, num_layers: int, *, rotary_dim: int = 0) -> nn.ModuleList:
    """Cross-attention for the top layers of a causal language model of transformers.

    Args:
        decoder: the model; hooks are registered, its weights stay as they are.
        num_layers: how many layers, from the top.
        rotary_dim: see `CrossAttention`.

    Returns:
        The new modules, of the lowest of these layers first. They are no part of the decoder.

    Raises:
        UserError: the model's layers cannot be found, or it has fewer.
    """
    config = decoder.config
    layers = _layers(decoder, config.num_hidden_layers)
    if not 1 <= num_layers <= len(layers):
        raise UserError(
            f"cross-attention goes into 1 to {len(layers)} layers of this decoder, not {num_layers}"
        )
    added = nn.ModuleList()
    for layer in layers[-num_layers:]:
        cross = CrossAttention(config.hidden_size, config.num_attention_heads, rotary_dim)
        name = next((name for name in _ATTENTIONS if hasattr(layer, name)), None)
        if name is None:
            raise UserError(
                f"a {config.model_type} has no self-attention by a name that is known"
                f" ({', '.join(_ATTENTIONS)}): take another decoder, such as GPT-2 or Llama"
            )
        getattr(layer, name).register_forward_hook(cross.add, with_kwargs=True)
        added.append(cross)
    return added


def _layers(decoder: nn.Module, number: int) -> list[Any]:
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return list(module)
    raise UserError(
        f"{type(decoder).__name__} has no list of {number} layers: take another decoder, such as"
        " GPT-2 or Llama"
    )
