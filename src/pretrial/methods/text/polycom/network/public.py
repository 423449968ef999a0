"""Networks with polynomial activations of checkpoints, in public layouts and in ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM, OlmoeForCausalLM

from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer, read_weights
from pretrial.errors import UserError
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.network.language_model import (
    PolyLlamaConfig,
    PolyLlamaForCausalLM,
    PolyOlmoeConfig,
    PolyOlmoeForCausalLM,
)
from pretrial.methods.text.polycom.network.megatron import is_megatron, load_megatron

_OWN = {"poly_llama": PolyLlamaForCausalLM, "poly_olmoe": PolyOlmoeForCausalLM}
_PLAIN: dict[str, tuple[Any, Any, Any]] = {
    "llama": (LlamaForCausalLM, PolyLlamaConfig, PolyLlamaForCausalLM),
    "olmoe": (OlmoeForCausalLM, PolyOlmoeConfig, PolyOlmoeForCausalLM),
}
_REPLACED = (".mlp.gate_proj.", ".mlp.up_proj.", ".mlp.down_proj.", ".mlp.experts.")


def load_network(
    source: str | Path, config: Config, make: Callable[[Config, int], Any]
) -> tuple[Any, Any]:
    """The network and the tokenizer of a checkpoint.

    Args:
        source: a folder that `save` or `export` has written, a file or a folder without
            config.json of the released models in Megatron's layout, with a tokenizer beside it; or
            with `warm_start` the name or folder of a Llama or OLMoE.
        config: tells the sizes of Megatron's weights, and the activation of a warm start.
        make: an untrained network of the settings and so many tokens.

    Raises:
        UserError: it is none of these, or a gated model without `warm_start`.
    """
    path = Path(source)
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        return _from_megatron(path, config, make)
    try:
        kind = load_config(source).model_type
    except (OSError, ValueError) as error:
        raise UserError(
            f"{source} is no checkpoint that can be read ({str(error).strip().splitlines()[0]})"
        ) from error
    if kind in _OWN:
        return load_pretrained(_OWN[kind], source).eval(), load_tokenizer(source)
    if kind not in _PLAIN:
        raise UserError(f"{source} is a {kind}: name a checkpoint of Llama, OLMoE or of polycom")
    if not config.warm_start:
        raise UserError(
            f"{source} is a trained {kind} with gated layers, for which a polynomial is no"
            " replacement: set warm_start to begin its feed-forward layers anew and train again"
        )
    tokenizer = load_tokenizer(source)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {source} has no end token: give it one")
    return warm_start(load_pretrained(_PLAIN[kind][0], source), config), tokenizer


def warm_start(network: Any, config: Config) -> Any:
    """A network with new feed-forward layers and everything else of a Llama or OLMoE.

    The new ones have as many parameters as the old ones, but for the coefficients.
    """
    _, config_class, network_class = _PLAIN[network.config.model_type]
    own = network.config.to_dict()
    for name in ("architectures", "model_type"):
        own.pop(name, None)
    width = own["intermediate_size"]
    own |= config.activation_fields()
    own["intermediate_size"] = width if config.gated else width * 3 // 2
    if config_class is PolyLlamaConfig:
        own["gated"] = config.gated
    made = network_class(config_class(**own))
    kept = {
        name: value
        for name, value in network.state_dict().items()
        if not any(part in name for part in _REPLACED)
    }
    missing = made.load_state_dict(kept, strict=False).missing_keys
    parts = (*_REPLACED, ".mlp.activation_func.")
    assert all(any(part in name for part in parts) for name in missing), missing
    return made


def _from_megatron(
    path: Path, config: Config, make: Callable[[Config, int], Any]
) -> tuple[Any, Any]:
    state = read_weights(path)
    if not is_megatron(state):
        raise UserError(
            f"{path} holds neither a config.json nor weights of Megatron with"
            " mlp.activation_func: name a checkpoint of polycom"
        )
    tokenizer = load_tokenizer(path if path.is_dir() else path.parent)
    network = make(config, config.vocab_size)
    for told in (network.config, network.generation_config):
        told.bos_token_id = told.eos_token_id = tokenizer.eos_token_id
    if not isinstance(network, PolyLlamaForCausalLM):
        raise UserError("the released weights are of the dense model: set num_experts=0")
    load_megatron(network, state, path)
    return network.eval(), tokenizer
