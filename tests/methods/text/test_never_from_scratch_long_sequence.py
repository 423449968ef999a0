"""Encoders of long sequences as models of transformers."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from pretrial.methods.text.never_from_scratch.network.encoder import (
    LongSequenceConfig,
    LongSequenceForSequenceClassification,
    mean_over,
    sinusoids,
)

MIXERS = ["transformer", "s4", "s4d", "dlr", "mamba"]


def classifier(mixer: str, **changes) -> LongSequenceForSequenceClassification:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "state_size": 8, "num_labels": 3}
    config = LongSequenceConfig(mixer=mixer, max_position_embeddings=32, **sizes | changes)
    return LongSequenceForSequenceClassification(config).eval()


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_auto_classes_load_what_was_saved(mixer, tmp_path) -> None:
    model = classifier(mixer, vocab_size=20, structured=False)
    model.save_pretrained(tmp_path)
    ids = torch.randint(20, (2, 9))
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)
    encoder = AutoModel.from_pretrained(tmp_path).eval()
    states = model.encoder(ids).last_hidden_state
    torch.testing.assert_close(encoder(ids).last_hidden_state, states, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prenorm", [True, False])
@pytest.mark.parametrize("mixer", MIXERS)
def test_padding_decides_nothing(mixer, prenorm) -> None:
    model = classifier(mixer, prenorm=prenorm)
    values = torch.randn(2, 9, 1)
    wide = torch.cat([values, torch.randn(2, 4, 1)], 1)
    mask = (torch.arange(13).expand(2, -1) < 9).long()
    found = model(values=wide, attention_mask=mask).logits
    torch.testing.assert_close(found, model(values=values).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", MIXERS)
def test_one_direction_does_not_look_ahead(mixer) -> None:
    model = classifier(mixer, causal=True, bidirectional=False)
    values = torch.randn(1, 12, 1)
    other = values.clone()
    other[:, 8:] = 3.0
    one, two = (model.encoder(values=each).last_hidden_state[:, :8] for each in (values, other))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    both = classifier(mixer)
    one, two = (both.encoder(values=each).last_hidden_state[:, :8] for each in (values, other))
    assert ((one - two).abs().max() > 1e-3) == (mixer != "mamba")  # which has one direction alone


def test_the_loss_is_that_of_the_labels() -> None:
    model = classifier("transformer", head="linear")
    values, labels = torch.randn(4, 5, 1), torch.tensor([0, 1, 2, 1])
    out = model(values=values, labels=labels)
    expected = -out.logits.log_softmax(-1)[torch.arange(4), labels].mean()
    torch.testing.assert_close(out.loss, expected)


def test_means_and_positions() -> None:
    states = torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    found = mean_over(states, mask)
    torch.testing.assert_close(found[0], states[0, :2].mean(0))
    torch.testing.assert_close(found[1], states[1].mean(0))
    places = sinusoids(6, torch.zeros(1, 6, 8))
    assert places[3, :2].tolist() == pytest.approx([math.sin(3), math.cos(3)])
    assert places[:, 7].tolist() == pytest.approx([math.cos(t * 1e-3) for t in range(6)])
