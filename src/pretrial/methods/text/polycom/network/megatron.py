"""Weights of the released PolyCom models, in Megatron's layout, as our Llama with polynomials.

Megatron keeps queries, keys and values in one matrix, group by group: the queries of a group of
heads, then its key, then its value. The coefficients keep their order, the highest power first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrial.checkpoints.keys import load_strict, rename
from pretrial.errors import UserError
from pretrial.methods.text.polycom.network.language_model import PolyLlamaForCausalLM

_ACTIVATION = "mlp.activation_func.weight"
_KEYS = (
    (r"^(module|model)\.", ""),
    (r"^language_model\.", ""),
    (r".*\._extra_state$", ""),
    (r".*rotary_(pos_)?emb\.inv_freq$", ""),
    (r"^embedding\.word_embeddings\.", "model.embed_tokens."),
    (r"^output_layer\.", "lm_head."),
    (r"^(encoder|decoder)\.final_(norm|layernorm)\.", "model.norm."),
    (r"^(encoder|decoder)\.layers\.", "model.layers."),
    (r"\.input_norm\.", ".input_layernorm."),
    (r"\.post_attention_norm\.", ".post_attention_layernorm."),
    (r"\.(self_attention|attention)\.dense\.", ".self_attn.o_proj."),
    (r"\.(self_attention|attention)\.query_key_value\.", ".self_attn.query_key_value."),
    (r"\.mlp\.dense_h_to_4h\.", ".mlp.up_proj."),
    (r"\.mlp\.dense_4h_to_h\.", ".mlp.down_proj."),
)


def flatten(state: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Nested dicts, as Megatron writes them, as one with dots in the names; tensors only."""
    flat: dict[str, Tensor] = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, Tensor):
            flat[prefix + name] = value
    return flat


def is_megatron(state: Mapping[str, Any]) -> bool:
    """Whether weights are in Megatron's layout with trained activations."""
    return any(name.endswith(_ACTIVATION) for name in flatten(state))


def load_megatron(
    network: PolyLlamaForCausalLM, state: Mapping[str, Any], source: str | Path
) -> None:
    """Loads Megatron's weights into a network of the right sizes.

    Args:
        network: takes the weights; its config tells the heads, which the weights do not.
        state: what the file holds.
        source: where it is from, for errors.

    Raises:
        UserError: the weights do not fit the network.
    """
    config: Any = network.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = config.hidden_size // heads
    weights: dict[str, Tensor] = {}
    for name, value in rename(flatten(state), _KEYS).items():
        if ".query_key_value." not in name:
            weights[name] = value
            continue
        rows = (heads // groups + 2) * size
        if value.shape[0] != groups * rows:
            raise UserError(
                f"{source} has {value.shape[0]} rows of queries, keys and values, and {heads} heads"
                f" in {groups} groups of {size} make {groups * rows}: set the sizes that it has"
            )
        grouped = value.unflatten(0, (groups, rows))
        parts = grouped.split([rows - 2 * size, size, size], dim=1)
        for letter, part in zip("qkv", parts, strict=True):
            weights[name.replace("query_key_value", f"{letter}_proj")] = part.flatten(0, 1)
    load_strict(network, weights, source)
