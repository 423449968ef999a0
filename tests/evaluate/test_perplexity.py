"""Bits per byte of known models, and the likelihood of a causal model against its own loss."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from pretrial.errors import UserError
from pretrial.evaluate.perplexity import causal_nll
from pretrial.evaluate.tasks import evaluate


class Uniform:
    """Gives each of 16 characters the same probability."""

    def nll(self, texts):
        return [len(text) * math.log(16) for text in texts], [len(text.encode()) for text in texts]


def test_bits_per_byte_of_a_uniform_model():
    result = evaluate("perplexity", Uniform(), ["abc", {"text": "hello"}, "x" * 50])
    assert result.metrics["bits_per_byte"].value == pytest.approx(4)
    assert result.metrics["byte_perplexity"].high == pytest.approx(16)
    assert result.notes == {"num_texts": 3, "num_bytes": 58}


def test_long_texts_weigh_more_and_bytes_are_counted():
    result = evaluate("perplexity", Uniform(), ["a" * 90, "é" * 5])
    assert result.items["bits_per_byte"] == pytest.approx([4, 2])
    assert result.metrics["bits_per_byte"].value == pytest.approx(95 * 4 / 100)


def test_missing_fields_and_empty_texts_are_refused():
    with pytest.raises(UserError, match="found: code"):
        evaluate("perplexity", Uniform(), [{"code": "x"}])
    with pytest.raises(UserError, match="text 1 is empty"):
        evaluate("perplexity", Uniform(), ["a", ""])


class Bytes:
    """A tokenizer of bytes."""

    bos_token_id = None
    eos_token_id = 256

    def __call__(self, text, add_special_tokens, split_special_tokens):
        assert not add_special_tokens
        assert split_special_tokens

        return type("Encoding", (), {"input_ids": list(text.encode())})


def test_causal_likelihood_equals_the_models_own_loss_window_by_window():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=257, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    texts = ["abc", "a text of four windows, é", "", "abcdefg"]
    nll, num_bytes = causal_nll(model, Bytes(), texts, max_length=8, batch_size=3)
    assert num_bytes == [len(text.encode()) for text in texts]
    for text, value in zip(texts, nll, strict=True):
        ids = list(text.encode())
        want = 0.0
        for at in range(0, len(ids), 7):
            window = torch.tensor([[256, *ids[at : at + 7]]])
            with torch.no_grad():
                want += float(model(window, labels=window).loss) * (window.shape[1] - 1)
        assert value == pytest.approx(want, rel=1e-5)
