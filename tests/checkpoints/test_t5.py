"""T5s with an output matrix of their own, or with that of the embeddings, in files and in use."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    LongT5Config,
    LongT5ForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
)

from pretrial.checkpoints.t5 import is_tied, resize_embeddings, save_network, state_scale, untie
from pretrial.models.architectures.seq2seq import new_t5

SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
IDS = torch.tensor([[5, 6, 7, 8, 1], [9, 10, 11, 12, 1]])
TARGETS = torch.tensor([[0, 13, 14], [0, 15, 16]])


def made(tied: bool = True, scaled: bool = True) -> Any:
    torch.manual_seed(0)
    network = new_t5(40, width=16, num_layers=2, num_heads=2, feed_forward=32, tied=tied)
    if not tied:  # else it is that of the embeddings, scaled
        network.lm_head.weight.data.normal_(std=0.5)
    network.config.scale_decoder_outputs = scaled
    return network.eval()


@torch.no_grad()
def logits_of(network: Any) -> Tensor:
    return network(input_ids=IDS, decoder_input_ids=TARGETS).logits


@torch.no_grad()
def by_the_rule(folder: Path) -> Tensor:
    """What any version of transformers makes of a folder: its config.json decides."""
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    network = AutoModel.from_pretrained(folder).eval()
    states = network(input_ids=IDS, decoder_input_ids=TARGETS).last_hidden_state
    if config["tie_word_embeddings"]:
        return config["d_model"] ** -0.5 * states @ weights["shared.weight"].T
    return states @ weights["lm_head.weight"].T


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_the_config_says_what_the_weights_are(tied: bool, scaled: bool, tmp_path: Path) -> None:
    network = made(tied, scaled)
    assert is_tied(network) == tied
    before = logits_of(network)
    save_network(network, tmp_path)
    torch.testing.assert_close(logits_of(network), before, rtol=0, atol=0)
    assert is_tied(network) == tied
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["tie_word_embeddings"] == (tied and scaled)
    torch.testing.assert_close(by_the_rule(tmp_path), before, rtol=1e-5, atol=1e-5)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits_of(again), before, rtol=1e-5, atol=1e-5)
    save_network(again, tmp_path / "again")
    torch.testing.assert_close(by_the_rule(tmp_path / "again"), before, rtol=1e-5, atol=1e-5)


def test_descendants_of_t5_say_it_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    long: Any = LongT5ForConditionalGeneration(
        LongT5Config(vocab_size=40, local_radius=4, tie_word_embeddings=False, **SIZES)
    )
    for name, network in (
        ("mt5", MT5ForConditionalGeneration(MT5Config(vocab_size=40, **SIZES))),
        ("long", long),
    ):
        untie(network)
        network.lm_head.weight.data.mul_(0.5)
        save_network(network.eval(), tmp_path / name)
        assert not json.loads((tmp_path / name / "config.json").read_text())["tie_word_embeddings"]
        wanted = logits_of(network)
        torch.testing.assert_close(by_the_rule(tmp_path / name), wanted, rtol=1e-5, atol=1e-5)
        again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / name).eval()
        torch.testing.assert_close(logits_of(again), wanted, rtol=1e-5, atol=1e-5)
        assert state_scale(network) == 1.0


@pytest.mark.parametrize("tied", [True, False])
def test_further_tokens_leave_the_output_matrix_what_it_was(tied: bool) -> None:
    network = made(tied, scaled=tied)
    larger = copy.deepcopy(network)
    resize_embeddings(larger, 48)
    assert larger.config.tie_word_embeddings == network.config.tie_word_embeddings
    assert is_tied(larger) == tied
    for part in (larger.encoder, larger.decoder):
        assert part.embed_tokens.weight is larger.shared.weight
    torch.testing.assert_close(
        logits_of(larger)[..., :40], logits_of(network), rtol=1e-5, atol=1e-5
    )
    rows = larger.lm_head.weight.detach()
    assert rows[40:].std() / rows[:40].std() == pytest.approx(1, abs=0.3)  # no louder than others
