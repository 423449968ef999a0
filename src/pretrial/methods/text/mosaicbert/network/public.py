"""MosaicBERT's public checkpoints: without running the code that comes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.errors import UserError
from pretrial.methods.text.mosaicbert.network.bert import MosaicBertForMaskedLM

_TOKENIZER = "bert-base-uncased"  # of which the public checkpoints are, without having it
_PUBLIC_VOCABULARY = 30528


def load_mosaic_bert(source: str | Path) -> tuple[Any, Any]:
    """The network and its tokenizer.

    Names of weights may begin with "model.", as the training framework of the release writes them.
    The attention dropout in the public configs chose a kernel and was not trained with; here there
    is none.

    Raises:
        UserError: it is not a MosaicBERT checkpoint, weights are missing, or it has no tokenizer.
    """
    try:
        network = load_pretrained(
            MosaicBertForMaskedLM,
            source,
            key_mapping={r"^model\.": ""},
            attention_probs_dropout_prob=0.0,
        )
    except UserError as error:
        raise UserError(
            f"{error}: give a MosaicBERT checkpoint, such as mosaicml/mosaic-bert-base"
        ) from error
    try:
        return network, load_tokenizer(source)
    except UserError:
        if network.config.vocab_size != _PUBLIC_VOCABULARY:
            raise
        return network, load_tokenizer(_TOKENIZER)
