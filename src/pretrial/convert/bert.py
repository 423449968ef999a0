"""BERT's public checkpoints, whatever head they come with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import BertForMaskedLM, BertModel

from pretrial.checkpoints.keys import load_config, load_pretrained
from pretrial.errors import UserError

_UNUSED = ("bert.pooler.", "pooler.", "cls.seq_relationship.", "bert.embeddings.position_ids")


def load_bert(source: str | Path) -> Any:
    """The encoder with its head for masked tokens, which begins at random where there is none.

    The pooler and the head for sentence pairs, which masked tokens do not train, are left out.

    Raises:
        UserError: it is not a BERT checkpoint, or weights are missing.
    """
    try:
        config = load_config(source)
        kind = f"a {config.model_type} checkpoint"
    except (OSError, ValueError):
        config, kind = None, "nothing that can be read"
    if config is None or config.model_type != "bert":
        raise UserError(
            f"{source} is {kind}: give the name or folder of a BERT checkpoint, such as"
            " google-bert/bert-base-uncased (the French biomedical models that are called DrBERT"
            " are another work)"
        )
    if config.architectures != ["BertModel"]:
        return load_pretrained(BertForMaskedLM, source, beside=_UNUSED)
    encoder: Any = load_pretrained(BertModel, source, beside=_UNUSED, add_pooling_layer=False)
    network = BertForMaskedLM(encoder.config)
    network.bert.load_state_dict(encoder.state_dict())
    return network.eval()
