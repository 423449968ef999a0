"""Public checkpoints: language models that write text, and encoders with a head."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from pretrial.checkpoints.gguf import PACKAGED, load_gguf
from pretrial.checkpoints.guard import reading, trusted
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.errors import UserError

# What checkpoints of encoders hold beside the network: a pooler, which masked language models lack,
# and, from older versions of transformers, the numbers of the positions.
_BESIDE = ("pooler.", "embeddings.position_ids")


def load_encoder(
    source: str | Path,
    kind: Any,
    mend: str,
    *,
    others: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
    pooler: bool = False,
) -> Any:
    """An encoder with its head, which is randomly initialised where the checkpoint has none.

    Args:
        source: name or folder of a checkpoint.
        kind: the class with the head, such as `BertForMaskedLM`.
        mend: what to give instead, for the errors.
        others: names of classes of the same encoder whose head may be another one; that of the bare
            encoder always may.
        beside: beginnings of the names of further weights that it may hold.
        pooler: keep the checkpoint's pooler where the class with the head has none; it is frozen.

    Raises:
        UserError: it is of another kind, or weights are missing.
    """
    from transformers import AutoModel

    try:
        config = load_config(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} holds no checkpoint that can be read: {mend}") from error
    if config.model_type != kind.config_class.model_type:
        raise UserError(f"{source} is a {config.model_type} checkpoint: {mend}")
    bare: Any = AutoModel._model_mapping[type(config)]
    names, prefix = set(config.architectures or ()), kind.base_model_prefix
    other = kind.__name__ not in names and names <= {bare.__name__, *others}
    network = load_pretrained(
        kind,
        source,
        beside=(*_BESIDE, *(f"{prefix}.{name}" for name in _BESIDE), *beside),
        new_head=other and kind is not bare,
    )
    if pooler:
        _add_pooler(network, source, bare)
    return network


def masked_class(source: str | Path, mend: str) -> Any:
    """The class of masked language models that transformers has for a checkpoint.

    Args:
        source: name or folder of a checkpoint.
        mend: what to give instead, for the errors.

    Raises:
        UserError: it has none, or there is no checkpoint.
    """
    from transformers import AutoModelForMaskedLM

    try:
        config = load_config(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} holds no checkpoint that can be read: {mend}") from error
    kinds: Any = AutoModelForMaskedLM._model_mapping
    if type(config) not in kinds or config.is_encoder_decoder:
        raise UserError(
            f"{source} is a {config.model_type} checkpoint, which predicts no hidden tokens: {mend}"
        )
    return kinds[type(config)]


def _add_pooler(network: Any, source: str | Path, bare: Any) -> None:
    """Gives the encoder under a head the pooler of its checkpoint, if that holds one."""
    with reading(source):
        encoder, report = bare.from_pretrained(
            str(source),
            output_loading_info=True,
            trust_remote_code=trusted(),
            dtype=torch.float32,
        )
    if not any(key.startswith("pooler.") for key in report["missing_keys"]):
        network.base_model.pooler = encoder.pooler.requires_grad_(False)


def load_generator(
    source: str | Path, *, tokenizer: Any = None, beside: str = ""
) -> tuple[Any, Any]:
    """A causal or sequence-to-sequence language model and its tokenizer.

    Args:
        source: a Hugging Face name, a folder in its layout, a GGUF file, or "smollm2".
        tokenizer: taken where the checkpoint has none.
        beside: see `load_pretrained`.

    Returns:
        The model, in eval mode, and the tokenizer.

    Raises:
        UserError: nothing is there, it writes no text, or its weights do not fit its config.
    """
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
    )

    if str(source) in PACKAGED or Path(source).suffix == ".gguf":
        return load_gguf(source)
    config = load_config(source)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    # BERT and its like have a causal variant too, which few checkpoints are
    encoder = not config.is_encoder_decoder and type(config) in AutoModelForMaskedLM._model_mapping
    causal = any(re.search("CausalLM|LMHead", name) for name in config.architectures or ())
    if type(config) not in auto._model_mapping or (encoder and not causal):
        raise UserError(
            f"{source} is a {config.model_type}, which writes no text; name a checkpoint of a"
            " causal or sequence-to-sequence language model"
        )
    model = load_pretrained(auto, source, beside=beside)
    return model.eval(), tokenizer or load_tokenizer(source)
