"""Llama and OLMoE with feed-forward layers that need no gate, as models of transformers.

transformers can only exchange an activation function for another without parameters, and its OLMoE
has the gate inside a fused weight. Importing this module registers both models, and the Auto
classes then load what `save_pretrained` wrote.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
)
from transformers.activations import ACT2FN

from pretrial.errors import UserError, nearest
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation

#: Activations with trained coefficients: name to (rho, form).
POLYNOMIALS: dict[str, tuple[str, Any]] = {
    "polynorm": ("norm", "inside"),
    "polyrelu": ("relu", "outside"),
    "powers": ("identity", "outside"),
}


class PolyLlamaConfig(LlamaConfig):
    """Llama's, with `hidden_act` in `POLYNOMIALS` or of transformers, and what follows.

    Attributes:
        gated: with a gate, down(act(gate(x)) * up(x)), else down(act(up(x))).
        poly_order: highest power.
        poly_trained: whether coefficients are trained.
        poly_recompute: whether powers are computed again in the backward pass.
    """

    model_type = "poly_llama"
    gated: bool = False
    poly_order: int = 3
    poly_trained: bool = True
    poly_recompute: bool = True


class PolyOlmoeConfig(OlmoeConfig):
    """OLMoE's, with experts that have no gate; see `PolyLlamaConfig`."""

    model_type = "poly_olmoe"
    poly_order: int = 3
    poly_trained: bool = True
    poly_recompute: bool = True


def make_activation(config: Any) -> nn.Module:
    """The activation that a config names.

    Raises:
        UserError: there is none of that name.
    """
    name = config.hidden_act
    if name in POLYNOMIALS:
        rho, form = POLYNOMIALS[name]
        return PolynomialActivation(
            rho,
            form,
            config.poly_order,
            trained=config.poly_trained,
            recompute=config.poly_recompute,
        )
    if name not in ACT2FN:
        raise UserError(
            f"there is no activation {name!r}: {nearest(name, [*POLYNOMIALS, *ACT2FN])}"
        )
    return ACT2FN[name]


class PolyMLP(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) * up(x))."""

    def __init__(self, config: PolyLlamaConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(width, inner, bias=bias) if config.gated else None
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)
        self.activation_func = make_activation(config)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] to [..., d]."""
        up = self.up_proj(x)
        if self.gate_proj is None:
            return self.down_proj(self.activation_func(up))
        return self.down_proj(self.activation_func(self.gate_proj(x)) * up)


class PolyExperts(nn.Module):
    """Experts without a gate; they share one activation, which normalises each hidden vector.

    Attributes:
        up_proj: [experts, inner, d].
        down_proj: [experts, d, inner].
    """

    def __init__(self, config: PolyOlmoeConfig) -> None:
        super().__init__()
        number, width, inner = config.num_experts, config.hidden_size, config.intermediate_size
        std = config.initializer_range
        self.up_proj = nn.Parameter(torch.randn(number, inner, width) * std)
        self.down_proj = nn.Parameter(torch.randn(number, width, inner) * std)
        self.activation_func = make_activation(config)

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


class PolyLlamaForCausalLM(LlamaForCausalLM):
    """Llama with `PolyMLP`."""

    config_class = PolyLlamaConfig

    def __init__(self, config: PolyLlamaConfig) -> None:
        plain = _silent(config)
        super().__init__(plain)
        _configure(self, plain, config)
        for layer in self.model.layers:
            layer.mlp = PolyMLP(config)
        self.post_init()


class PolyOlmoeForCausalLM(OlmoeForCausalLM):
    """OLMoE with `PolyExperts`."""

    config_class = PolyOlmoeConfig

    def __init__(self, config: PolyOlmoeConfig) -> None:
        plain = _silent(config)
        super().__init__(plain)
        _configure(self, plain, config)
        for layer in self.model.layers:
            layer.mlp.experts = PolyExperts(config)
        self.post_init()


def _silent(config: Any) -> Any:
    """A copy whose activation transformers knows, and whose feed-forward layers are small: they are
    made only to be replaced."""
    plain = type(config).from_dict(config.to_dict())
    plain._attn_implementation = config._attn_implementation
    plain.hidden_act, plain.intermediate_size = "silu", 1
    return plain


def _configure(model: nn.Module, plain: Any, config: Any) -> None:
    """Puts `config` in the place of `plain` in all parts, with the attention that was chosen."""
    config._attn_implementation = plain._attn_implementation
    for part in model.modules():
        if getattr(part, "config", None) is plain:
            part.config = config


AutoConfig.register("poly_llama", PolyLlamaConfig)
AutoConfig.register("poly_olmoe", PolyOlmoeConfig)
AutoModelForCausalLM.register(PolyLlamaConfig, PolyLlamaForCausalLM)
AutoModelForCausalLM.register(PolyOlmoeConfig, PolyOlmoeForCausalLM)
