"""Layer-wise learning rates: every parameter once, and each with the power of its depth."""

import re

import pytest
from torch import nn
from transformers import ElectraConfig, ElectraForSequenceClassification

from pretrial.evaluate.layer_decay import decayed_optims
from pretrial.train.stage import Optim


@pytest.fixture(scope="module")
def model():
    sizes = ElectraConfig(
        vocab_size=20,
        embedding_size=4,
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=8,
    )
    return ElectraForSequenceClassification(sizes)


def rate_of(optims, name):
    rates = [optim.lr for optim in optims if re.search(optim.match, name)]
    assert len(rates) == 1, name
    return rates[0]


def test_rates_fall_from_the_head_to_the_embeddings(model):
    optims = decayed_optims(model, Optim(lr=1.0, warmup=0.1), 0.5)
    for name, _ in model.named_parameters():
        rate_of(optims, name)
    assert rate_of(optims, "classifier.dense.weight") == 1.0
    assert rate_of(optims, "electra.encoder.layer.2.output.dense.bias") == 0.5
    assert rate_of(optims, "electra.encoder.layer.0.attention.self.key.weight") == 0.125
    assert rate_of(optims, "electra.embeddings_project.weight") == 0.0625
    assert rate_of(optims, "electra.embeddings.LayerNorm.weight") == 0.0625
    assert {optim.warmup for optim in optims} == {0.1}


def test_frozen_parameters_are_left_out_and_no_decay_is_one_optimiser(model):
    assert decayed_optims(model, Optim(lr=1.0), 1.0) == (Optim(lr=1.0),)
    for parameter in model.electra.embeddings.parameters():
        parameter.requires_grad_(False)
    optims = decayed_optims(model, Optim(lr=1.0), 0.5)
    names = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert not any(re.search(optim.match, name) for optim in optims for name in names)


def test_a_module_without_layers_is_all_head():
    (optim,) = decayed_optims(nn.Linear(2, 2), Optim(lr=1.0), 0.9)
    assert optim.lr == 1.0
