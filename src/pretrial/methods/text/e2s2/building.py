"""Where an E2S2 comes from: from scratch, from a public checkpoint, from a folder of ours."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import nn
from transformers import (
    BartForConditionalGeneration,
    BartForSequenceClassification,
    T5ForConditionalGeneration,
    T5ForSequenceClassification,
)

from pretrial.checkpoints.keys import (
    load_config,
    load_pretrained,
    load_strict,
    load_tokenizer,
    read_weights,
)
from pretrial.errors import UserError
from pretrial.methods.text.e2s2.config import Config
from pretrial.methods.text.e2s2.network import new_bart
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import ROBERTA_SPECIALS, check_sentinels, learn_bpe

if TYPE_CHECKING:
    from pretrial.methods.text.e2s2 import E2S2

_HEAD = "encoder_token_head"
_HEAD_FILE = f"{_HEAD}.safetensors"
_NUM_SENTINELS = 100
_KINDS: dict[str, Any] = {"bart": BartForConditionalGeneration, "t5": T5ForConditionalGeneration}
_CLASSIFIERS: dict[str, Any] = {
    "bart": BartForSequenceClassification,
    "t5": T5ForSequenceClassification,
}


def from_scratch(config: Config, texts: Sequence[str] | None) -> tuple[Config, Any, Any]:
    """Settings, an untrained network and a vocabulary learned from the texts, if there are any."""
    tokenizer, ids = None, {"pad_id": 1, "bos_id": 0, "eos_id": 2}
    if config.architecture == "t5":
        ids = {"pad_id": 0, "eos_id": 1}
    if texts is not None:
        is_t5 = config.architecture == "t5"
        tokenizer = learn_bpe(
            texts,
            config.vocab_size,
            num_sentinels=_NUM_SENTINELS if is_t5 else 0,
            specials=ROBERTA_SPECIALS,
            template="$A </s>" if is_t5 else "<s> $A </s>",
        )
        config = replace(config, vocab_size=len(tokenizer))
        names = ("pad_id", "bos_id", "eos_id")
        roles = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        ids = dict(zip(names, roles, strict=True))
    sizes: dict[str, Any] = {
        "width": config.width,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "feed_forward": config.feed_forward,
        "dropout_prob": config.dropout_prob,
        **ids,
    }
    if config.architecture == "bart":
        sizes |= {"num_positions": config.num_positions, "init_std": config.init_std}
        model: Any = new_bart(config.vocab_size, **sizes)
    else:
        model = new_t5(config.vocab_size, **sizes)
    return config, model, tokenizer


def load(config: Config, source: str | Path) -> tuple[Config, Any, Any]:
    """Settings with the sizes of a checkpoint, its network and its tokenizer.

    Raises:
        UserError: it is neither a BART nor a T5, or its tokenizer lacks what is needed.
    """
    try:
        kind = load_config(source).model_type
    except (OSError, ValueError):
        kind = "nothing that can be read"
    if kind not in _KINDS:
        raise UserError(
            f"{source} is {kind}, not a BART or T5: give the name or folder of one, such as"
            " facebook/bart-base or google/t5-v1_1-base"
        )
    # released checkpoints may hold the head beside the network
    model: Any = load_pretrained(_KINDS[kind], source, beside=f"{_HEAD}.")
    tokenizer = load_tokenizer(source)
    if kind == "t5":
        check_sentinels(tokenizer, model.get_input_embeddings().num_embeddings, _NUM_SENTINELS)
    elif tokenizer.mask_token_id is None:
        raise UserError(f"the tokenizer of {source} has no mask token: give a BART's own")
    return sized_as(config, model.config, kind), model, tokenizer


def sized_as(config: Config, network: Any, kind: Any) -> Config:
    """The same settings with the sizes of a network that was loaded."""
    is_t5 = kind == "t5"
    positions = config.num_positions if is_t5 else network.max_position_embeddings
    return replace(
        config,
        architecture=kind,
        vocab_size=network.vocab_size,
        width=network.d_model,
        num_layers=network.num_layers if is_t5 else network.encoder_layers,
        num_heads=network.num_heads if is_t5 else network.encoder_attention_heads,
        feed_forward=network.d_ff if is_t5 else network.encoder_ffn_dim,
        num_positions=positions,
        max_length=config.max_length if is_t5 else min(config.max_length, positions),
    )


def load_head(head: nn.Linear | None, source: str | Path) -> None:
    """Takes the encoder's head from a folder of ours, if it is for as many kinds of noise."""
    path = Path(source) / _HEAD_FILE
    if head is None or not path.is_file():
        return
    weights = read_weights(path)
    if weights[f"{_HEAD}.weight"].shape == head.weight.shape:
        load_strict(head, weights, source, keys=[(rf"^{_HEAD}\.", "")])


def save(method: E2S2, folder: Path) -> None:
    """The layout of transformers, and the head in a file of its own."""
    method.model.save_pretrained(folder)
    method.tokenizer.save_pretrained(folder)
    if method.encoder_token_head is not None:
        state = method.encoder_token_head.state_dict()
        save_file({f"{_HEAD}.{name}": value for name, value in state.items()}, folder / _HEAD_FILE)


def classifier_of(model: Any, num_labels: int) -> Any:
    """A classifier of transformers with a fresh head on a copy of the network."""
    config = copy.deepcopy(model.config)
    config.num_labels = num_labels
    classifier = _CLASSIFIERS[config.model_type](config)
    own, weights = classifier.base_model, model.base_model.state_dict()
    own.load_state_dict({name: weights[name] for name in own.state_dict()})  # not a T5's lm_head
    return classifier.to(model.device)
