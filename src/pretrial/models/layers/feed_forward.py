"""Feed-forward layers of a decoder or its experts, with any activation, which may have weights.

They are named as those of Llama in transformers, whose own layers have a gate always and take an
activation by its name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) * up(x)).

    Args:
        config: of a Llama or its like: sizes, and whether there are biases.
        activation: from hidden vectors to hidden vectors [..., inner].
        gated: with a gate.
    """

    def __init__(self, config: Any, activation: nn.Module, gated: bool = False) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(width, inner, bias=bias) if gated else None
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)
        self.activation_func = activation

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] to [..., d]."""
        up = self.up_proj(x)
        if self.gate_proj is None:
            return self.down_proj(self.activation_func(up))
        return self.down_proj(self.activation_func(self.gate_proj(x)) * up)


class Experts(nn.Module):
    """Experts without a gate, as a router of transformers calls them; all share one activation.

    Args:
        config: sizes, the number of experts, and the deviation that weights begin with.
        activation: sees the hidden vectors of one expert at a time [N, inner].

    Attributes:
        up_proj: [experts, inner, d].
        down_proj: [experts, d, inner].
    """

    def __init__(self, config: Any, activation: nn.Module) -> None:
        super().__init__()
        number, width, inner = config.num_experts, config.hidden_size, config.intermediate_size
        std = config.initializer_range
        self.up_proj = nn.Parameter(torch.randn(number, inner, width) * std)
        self.down_proj = nn.Parameter(torch.randn(number, width, inner) * std)
        self.activation_func = activation

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """The weighted sum of each token's experts.

        Args:
            hidden_states: tokens [N, d].
            top_k_index: their experts [N, k].
            top_k_weights: the experts' weights [N, k].
        """
        total = torch.zeros_like(hidden_states)
        for number in range(len(self.up_proj)):
            token, place = torch.where(top_k_index == number)
            inner = self.activation_func(F.linear(hidden_states[token], self.up_proj[number]))
            found = F.linear(inner, self.down_proj[number]) * top_k_weights[token, place, None]
            total = total.index_add(0, token, found.to(total.dtype))
        return total
