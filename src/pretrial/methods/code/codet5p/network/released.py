"""The released CodeT5+ models of 2 B and more: a CodeGen that reads a bidirectional CodeGen.

Their class lies with the weights on the hub and is never run here. Its layout, as read there: keys
`encoder.*`, `decoder.transformer.*`, `decoder.lm_head.*` and `enc_to_dec_proj.*`; cross-attention
stands in the top layer, beside the self-attention, on the same normed input, with rotary positions.
Its projection of values and keys interleaves them in four blocks, as CodeGen does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from transformers import CodeGenConfig, CodeGenForCausalLM, CodeGenModel, PreTrainedConfig

from pretrial.checkpoints.keys import load_strict, load_tokenizer, read_weights

_BLOCKS = 4
# sizes that both classes know by the same name
_SIZES = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_layer",
    "n_head",
    "rotary_dim",
    "n_inner",
    "activation_function",
    "layer_norm_epsilon",
)


def kind_of(source: str | Path) -> Literal["released", "encoder-decoder", "other"]:
    """What the config.json of a folder says it is; "other" also where there is none."""
    if not Path(source).is_dir():
        return "other"
    try:
        values, _ = PreTrainedConfig.get_config_dict(str(source))
    except (OSError, ValueError):
        return "other"
    if values.get("model_type") == "codet5p":
        return "released"
    return "encoder-decoder" if values.get("is_encoder_decoder") else "other"


def load_released(source: str | Path) -> tuple[Any, Any, Any, dict[str, Tensor]]:
    """Encoder, decoder, tokenizer, and the weights of the bridge between them.

    Raises:
        UserError: its weights do not fit.
    """
    values, _ = PreTrainedConfig.get_config_dict(str(source))
    encoder = CodeGenModel(_sizes(values["encoder"]))
    decoder = CodeGenForCausalLM(_sizes(values["decoder"]))
    state = {k: v.float() for k, v in read_weights(source).items() if "causal_mask" not in k}
    top = f"decoder.transformer.h.{decoder.config.n_layer - 1}.crossattention."
    bridge = _bridge(state, top)
    parts: tuple[tuple[str, Any], ...] = (("encoder.", encoder), ("decoder.", decoder))
    for prefix, module in parts:
        own = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix) and not key.startswith(top)
        }
        load_strict(module, own, source)
    return encoder, decoder.eval(), load_tokenizer(source), bridge


def _sizes(values: dict[str, Any]) -> CodeGenConfig:
    kept = {name: values[name] for name in _SIZES if name in values}
    dropout: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return CodeGenConfig(**kept, **dropout, tie_word_embeddings=False)


def _bridge(state: dict[str, Tensor], top: str) -> dict[str, Tensor]:
    """The weights of `FrozenDecoder.bridge`."""
    both = state[f"{top}qkv_proj.weight"]  # [2 d, d]: four times values, then keys
    value, key = both.unflatten(0, (_BLOCKS, 2, -1)).unbind(1)
    bridge = {
        "cross.0.q_proj.weight": state[f"{top}q_attn.weight"],
        "cross.0.k_proj.weight": key.flatten(0, 1),
        "cross.0.v_proj.weight": value.flatten(0, 1),
        "cross.0.out_proj.weight": state[f"{top}out_proj.weight"],
    }
    for name in ("weight", "bias"):
        if f"enc_to_dec_proj.{name}" in state:
            bridge[f"projection.{name}"] = state[f"enc_to_dec_proj.{name}"]
    return {name: weight.contiguous() for name, weight in bridge.items()}
