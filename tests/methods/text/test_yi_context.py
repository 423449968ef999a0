"""Longer contexts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pretrial.errors import UserError
from pretrial.methods.text.yi.network.context import context_values, extend_context


def tiny(**rope: object) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    config.rope_parameters = {"rope_type": "default", "rope_theta": 10_000.0} | rope
    return LlamaForCausalLM(config).eval()


def test_three_values_change_and_the_angles_with_them(tmp_path: Path) -> None:
    network = tiny()
    old = network.model.rotary_emb.inv_freq.clone()
    before, after = extend_context(network, 128, 5e6)
    assert before == {
        "max_position_embeddings": 32,
        "rope_theta": 10_000.0,
        "rope_type": "default",
    }
    assert after == {"max_position_embeddings": 128, "rope_theta": 5e6, "rope_type": "default"}
    expected = 5e6 ** (-torch.arange(0, 8, 2) / 8)
    torch.testing.assert_close(network.model.rotary_emb.inv_freq, expected)
    assert not torch.allclose(old, expected)
    network.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    assert context_values(again) == after
    ids = torch.randint(50, (1, 100))
    torch.testing.assert_close(
        again(input_ids=ids).logits, network(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )


def test_what_cannot_be_stretched_is_refused() -> None:
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(UserError, match="no rotary positions"):
        extend_context(gpt, 128, 5e6)
    with pytest.raises(UserError, match="scaled already"):
        extend_context(tiny(rope_type="linear", factor=2.0), 128, 5e6)
