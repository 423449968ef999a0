"""Public checkpoints of language models that write text: the model and its tokenizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pretrial.checkpoints.gguf import PACKAGED, load_gguf
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.errors import UserError


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
