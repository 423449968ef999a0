"""Language models that write are loaded, others are refused by what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM, BertLMHeadModel, BertModel

from pretrial.checkpoints.pretrained import load_generator
from pretrial.errors import UserError

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11}


def test_a_bert_that_was_saved_as_a_causal_model_writes(tmp_path: Path) -> None:
    config = BertConfig(intermediate_size=8, is_decoder=True, **SIZES)
    BertLMHeadModel(config).save_pretrained(tmp_path)
    model, tokenizer = load_generator(tmp_path, tokenizer="given")
    assert isinstance(model, BertLMHeadModel)
    assert tokenizer == "given"


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertModel])
def test_an_encoder_writes_no_text(kind: type, tmp_path: Path) -> None:
    kind(BertConfig(intermediate_size=8, **SIZES)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a bert, which writes no text; name a checkpoint of a"):
        load_generator(tmp_path)
