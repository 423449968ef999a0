"""The two networks: made from the settings, or loaded with their tokenizers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from pretrial.models.tokenizers import learn_bpe


def make_tokenizer(config: Config, texts: Iterable[str]) -> Any:
    """A byte-level vocabulary learned from the texts."""
    template = "<cls> $A <sep>" if config.architecture == "encoder" else None
    return learn_bpe(texts, config.vocab_size, template=template)


def make_network(config: Config, tokenizer: Any = None) -> Any:
    """A network with random weights; without a tokenizer its special tokens are unknown."""
    specials: dict[str, Any] = {
        name: getattr(tokenizer, name, None)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    if config.architecture == "encoder":
        return RobertaForMaskedLM(
            RobertaConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.width,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                intermediate_size=4 * config.width,
                max_position_embeddings=config.num_positions,
                hidden_dropout_prob=config.dropout_prob,
                attention_probs_dropout_prob=config.dropout_prob,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
                **({**specials, "bos_token_id": tokenizer.cls_token_id} if tokenizer else {}),
            )
        )
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_embd=config.width,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            n_positions=config.num_positions,
            resid_pdrop=config.dropout_prob,
            embd_pdrop=config.dropout_prob,
            attn_pdrop=config.dropout_prob,
            scale_attn_by_inverse_layer_idx=config.inverse_layer_scaling,
            **{**specials, "bos_token_id": specials["eos_token_id"]},
        )
    )


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


def text_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts alone; special tokens that are written in them are text."""
    if not texts:
        return []
    plain = {"add_special_tokens": False, "split_special_tokens": True}
    return list(tokenizer(list(texts), **plain)["input_ids"])
