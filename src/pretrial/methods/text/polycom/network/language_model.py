"""Llama and OLMoE with polynomial activations, as models of transformers, and what they start from.

The OLMoE of transformers has the gate inside a fused weight, which has none here. Importing this
module registers both models, and the Auto classes then load what `save_pretrained` wrote.
"""

from __future__ import annotations

from typing import Any

from torch import nn
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
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.models.architectures.swapped_layers import SwappedFeedForward, take_over
from pretrial.models.layers.feed_forward import Experts, FeedForward

#: Activations with trained coefficients: name to (rho, form).
POLYNOMIALS: dict[str, tuple[str, Any]] = {
    "polynorm": ("norm", "inside"),
    "polyrelu": ("relu", "outside"),
    "powers": ("identity", "outside"),
}
_REPLACED = (".mlp.gate_proj.", ".mlp.up_proj.", ".mlp.down_proj.", ".mlp.experts.")


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


class PolyLlamaForCausalLM(SwappedFeedForward, LlamaForCausalLM):
    """Llama whose feed-forward layers may do without a gate."""

    config_class = PolyLlamaConfig

    @staticmethod
    def swap(layer: Any, config: Any) -> None:
        """See `SwappedFeedForward`."""
        layer.mlp = FeedForward(config, make_activation(config), config.gated)


class PolyOlmoeForCausalLM(SwappedFeedForward, OlmoeForCausalLM):
    """OLMoE whose experts have no gate; each normalises its own hidden vector."""

    config_class = PolyOlmoeConfig

    @staticmethod
    def swap(layer: Any, config: Any) -> None:
        """See `SwappedFeedForward`."""
        layer.mlp.experts = Experts(config, make_activation(config))


AutoConfig.register("poly_llama", PolyLlamaConfig)
AutoConfig.register("poly_olmoe", PolyOlmoeConfig)
AutoModelForCausalLM.register(PolyLlamaConfig, PolyLlamaForCausalLM)
AutoModelForCausalLM.register(PolyOlmoeConfig, PolyOlmoeForCausalLM)


def warm_start(network: Any, config: Config) -> Any:
    """A network with new feed-forward layers and everything else of a Llama or OLMoE.

    The new ones have as many parameters as the old ones, but for the coefficients.
    """
    own = network.config.to_dict()
    kind = own.pop("model_type")
    own.pop("architectures", None)
    width = own["intermediate_size"]
    own |= config.activation_fields()
    own["intermediate_size"] = width if config.gated else width * 3 // 2
    made: Any
    if kind == "llama":
        made = PolyLlamaForCausalLM(PolyLlamaConfig(**own, gated=config.gated))
    else:
        made = PolyOlmoeForCausalLM(PolyOlmoeConfig(**own))
    take_over(made, network, _REPLACED, (".mlp.activation_func.",))
    return made
