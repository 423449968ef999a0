"""Weights in Megatron's layout as a network of Llama's has them, for any release trained with it.

Megatron keeps queries, keys and values in one matrix, group by group: the queries of a group of
heads, then its key, then its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrial.checkpoints.keys import load_strict, load_tokenizer, read_weights, rename
from pretrial.errors import UserError

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


def load_release(path: Path, make: Callable[[], Any], needed: str, mend: str) -> tuple[Any, Any]:
    """The network and the tokenizer of a file or folder of weights without a config.json.

    Args:
        path: of the weights, with a tokenizer beside them, whose end token texts begin and end
            with.
        make: an untrained network, of sizes that the weights do not tell; see `load_megatron`.
        needed: end of a name that is among the weights.
        mend: what to give instead, for the error.

    Raises:
        UserError: it is something else, or does not fit the network.
    """
    state = read_weights(path)
    if not any(name.endswith(needed) for name in flatten(state)):
        layer = needed.rpartition(".")[0]
        raise UserError(
            f"{path} holds neither a config.json nor weights of Megatron with {layer}: {mend}"
        )
    tokenizer = load_tokenizer(path if path.is_dir() else path.parent)
    network = make()
    for told in (network.config, network.generation_config):
        told.bos_token_id = told.eos_token_id = tokenizer.eos_token_id
    load_megatron(network, state, path)
    return network.eval(), tokenizer


def load_megatron(network: Any, state: Mapping[str, Any], source: str | Path) -> None:
    """Loads Megatron's weights into a network of the right sizes.

    Args:
        network: of Llama's layout, with feed-forward layers without a gate; takes the weights. Its
            config tells the heads, which the weights do not. What else its layers hold has the same
            name in both, such as `mlp.activation_func`.
        state: what the file holds.
        source: where it is from, for errors.

    Raises:
        UserError: the weights do not fit the network.
    """
    config = network.config
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
