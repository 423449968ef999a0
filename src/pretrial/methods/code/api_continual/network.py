"""The two networks: made from the settings, or loaded with their tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.checkpoints.pretrained import load_generator
from pretrial.errors import UserError
from pretrial.methods.code.api_continual.config import Config


def new_network(config: Config, vocab_size: int, ids: Mapping[str, int]) -> Any:
    """A randomly initialised network.

    Args:
        config: the settings.
        vocab_size: entries of the vocabulary.
        ids: of its special tokens, such as "eos_token_id".
    """
    told: dict[str, Any] = {name: ids[name] for name in ("eos_token_id", "pad_token_id")}
    if config.architecture == "encoder":
        encoder = config.network_config(
            RobertaConfig,
            vocab_size=vocab_size,
            intermediate_size=config.feed_forward or 4 * config.width,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            bos_token_id=ids["cls_token_id"],
            **told,
        )
        return RobertaForMaskedLM(encoder)
    sizes = config.network_config(
        GPT2Config,
        vocab_size=vocab_size,
        scale_attn_by_inverse_layer_idx=config.inverse_layer_scaling,
        bos_token_id=ids["eos_token_id"],
        **told,
    )
    return GPT2LMHeadModel(sizes)


def load_network(source: str | Path) -> tuple[Any, Any, bool]:
    """A network of a checkpoint, its tokenizer, and whether it is an encoder.

    The release fine-tunes its encoder as a decoder, and its checkpoints say so; their weights are
    those of the encoder, and are loaded as such.

    Raises:
        UserError: there is none, or it is neither a decoder nor a masked language model.
    """
    try:
        found = load_config(source)
    except (OSError, ValueError):
        found = None  # `load_generator` knows more kinds, and what is wrong
    told = " ".join(getattr(found, "architectures", None) or [])
    if found is not None and ("MaskedLM" in told or found.model_type == "roberta"):
        network = load_pretrained(AutoModelForMaskedLM, source, is_decoder=False)
        tokenizer = load_tokenizer(source)
        if None in (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id):
            raise UserError(f"the tokenizer of {source} has no mask, start or end token: add them")
        return network.eval(), tokenizer, True
    network, tokenizer = load_generator(source)
    if network.config.is_encoder_decoder:
        raise UserError(
            f"{source} is a {network.config.model_type}, an encoder with a decoder: give a decoder"
            " such as GPT-2, or a masked language model such as RoBERTa"
        )
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {source} has no end token (eos_token): add one")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network, tokenizer, False


def num_positions(network: Any) -> int:
    """How many tokens the network can read; RoBERTa keeps some of its positions for padding."""
    config = network.config
    known = getattr(config, "max_position_embeddings", None) or 1024
    return known - config.pad_token_id - 1 if config.model_type == "roberta" else known
