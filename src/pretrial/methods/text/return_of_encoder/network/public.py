"""Checkpoints that a student may begin with; those of Mu have names of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrial.checkpoints.keys import KeyMap, load_strict, load_tokenizer, read_weights
from pretrial.checkpoints.pretrained import load_generator
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.network.mu import MuConfig, MuForConditionalGeneration

_KEYS: KeyMap = (
    (r"^transformer\.wte\.", "embeddings."),
    (r"^transformer\.e\.", "encoder.stack.layers."),
    (r"^transformer\.ln_e\.", "encoder.stack.norm."),
    (r"^transformer\.h\.", "decoder.layers."),
    (r"^transformer\.ln_f\.", "decoder.norm."),
    (r"(encoder\.stack\.layers\.\d+)\.ln1\.", r"\1.self_norm."),
    (r"(encoder\.stack\.layers\.\d+)\.ln2\.", r"\1.mlp_norm."),
    (r"(decoder\.layers\.\d+)\.ln1\.", r"\1.self_norm."),
    (r"(decoder\.layers\.\d+)\.ln2\.", r"\1.cross_norm."),
    (r"(decoder\.layers\.\d+)\.ln3\.", r"\1.mlp_norm."),
    (r"\.(causal_attn|attn)\.", ".self_attn."),
    (r"\.(q|k|v)_linear\.", r".\1_proj."),
    (r"\.out_linear\.", ".o_proj."),
    (r"\.mlp\.fc1\.", ".mlp.up_proj."),
    (r"\.mlp\.fc2\.", ".mlp.down_proj."),
)
_FIRST = "transformer.wte.weight"
_TOKENIZER = "microsoft/Phi-3.5-mini-instruct"  # of the release, which has none beside it


def load_student(source: str | Path, head_width: int) -> tuple[Any, Any]:
    """The model and the tokenizer of a checkpoint.

    Args:
        source: `model.pt` of the release, a folder of ours, or any checkpoint of transformers that
            writes text.
        head_width: of each head, where the checkpoint does not tell it.

    Raises:
        UserError: there is none, or it has no tokenizer with an end token.
    """
    if is_public_mu(source):
        network: Any = load_public_mu(source, head_width)
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        tokenizer = _tokenizer_beside(folder)
        if tokenizer.eos_token_id is not None:
            network.config.eos_token_id = tokenizer.eos_token_id
    else:
        network, tokenizer = load_generator(source)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {source} has no end token: give it one")
    return network, tokenizer


def _tokenizer_beside(folder: Path) -> Any:
    """The tokenizer in a folder of the release, or the one that it was trained with."""
    if any(folder.glob("tokenizer*")):
        return load_tokenizer(folder)
    try:
        return load_tokenizer(_TOKENIZER)
    except UserError as error:
        raise UserError(
            f"{folder} holds no tokenizer, and that of the release, {_TOKENIZER}, could not be"
            " fetched: put its tokenizer.json and tokenizer_config.json beside the weights"
        ) from error


def is_public_mu(source: str | Path) -> bool:
    """Whether a file, or a folder without one of our configs, holds weights of the release."""
    path = Path(source)
    if path.is_dir():
        config = path / "config.json"
        if config.is_file() and "n_embd" not in json.loads(config.read_text()):
            return False
        return any(path.glob("*.pt")) or any(path.glob("*.bin"))
    return path.suffix == ".pt" and path.is_file()


def load_public_mu(source: str | Path, head_dim: int = 64) -> MuForConditionalGeneration:
    """The text model of the release.

    Sizes are read off the weights, where no config.json with the release's names says them. Query
    heads are put into the order of their key/value heads: in the release, head h reads key/value
    head h modulo their number, here those of a group stand side by side.

    Args:
        source: a file of weights, in the release `model.pt`, or a folder with one.
        head_dim: width of a head where no config tells it.

    Raises:
        UserError: the weights are not those of Mu.
    """
    state = _weights(source)
    told = _told(source)
    heads = told.get("n_head")
    width = state["transformer.e.0.attn.q_linear.weight"].shape[0]
    config = MuConfig(
        vocab_size=state[_FIRST].shape[0],
        hidden_size=state[_FIRST].shape[1],
        intermediate_size=state["transformer.e.0.mlp.fc1.weight"].shape[0],
        encoder_layers=_count(state, "e"),
        decoder_layers=_count(state, "h"),
        num_attention_heads=heads or width // head_dim,
        num_key_value_heads=state["transformer.e.0.attn.k_linear.weight"].shape[0]
        // (width // heads if heads else head_dim),
        head_dim=width // heads if heads else head_dim,
        max_position_embeddings=told.get("block_size", 1024),
        dropout=told.get("dropout", 0.1),
        rope_theta=told.get("rope_theta", 10_000),
        rope_factor=told.get("rope_factor", 1.0),
        head_bias="lm_head.bias" in state,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=32000 if state[_FIRST].shape[0] > 32000 else 2,  # of Phi-3.5's tokenizer
        decoder_start_token_id=1,
    )
    model = MuForConditionalGeneration(config)
    state = {**state, "encoder.embeddings.weight": state[_FIRST]}
    if not told.get("is_interleaved", False):
        state = {key: grouped(key, value, config) for key, value in state.items()}
    load_strict(model, state, source, _KEYS)
    return model.eval()


def grouped(key: str, weight: Tensor, config: MuConfig) -> Tensor:
    """A weight of the release, its query heads in the order of the heads that they read.

    Args:
        key: its name there.
        weight: rows of query heads, or columns of them in the output of attention.
        config: sizes.
    """
    kv_heads, width = config.num_key_value_heads, config.head_dim
    group = config.num_attention_heads // kv_heads
    order = torch.arange(group * kv_heads).view(group, kv_heads).T.flatten()
    columns = (order[:, None] * width + torch.arange(width)).flatten()
    if ".q_linear." in key:
        return weight[columns]
    if key.endswith(".out_linear.weight"):
        return weight[:, columns]
    return weight


def _weights(source: str | Path) -> dict[str, Tensor]:
    read: Mapping[str, Any] = read_weights(source)
    state = dict(read.get("model_state_dict", read))
    state = {re.sub(r"^(module|_orig_mod)\.", "", key): value for key, value in state.items()}
    needed = (_FIRST, "transformer.e.0.attn.q_linear.weight", "transformer.e.0.mlp.fc1.weight")
    missing = [key for key in needed if key not in state]
    if missing:
        raise UserError(
            f"{source} is no checkpoint of Mu: it lacks {missing[0]}; give model.pt of"
            " microsoft/encoder-decoder-slm, or a folder that this project has written"
        )
    return state


def _told(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    config = (path if path.is_dir() else path.parent) / "config.json"
    return json.loads(config.read_text()) if config.is_file() else {}


def _count(state: Mapping[str, Tensor], part: str) -> int:
    return 1 + max(
        int(match.group(1))
        for key in state
        if (match := re.match(rf"transformer\.{part}\.(\d+)\.", key))
    )
