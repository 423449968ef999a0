"""Depth up-scaling."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pretrial.errors import UserError
from pretrial.methods.text.yi.network.depth import deepen, layer_cosines, layers_of, likest_block


@pytest.fixture
def network() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config).eval()


def test_copies_that_add_nothing_change_nothing(network: LlamaForCausalLM) -> None:
    ids = torch.randint(50, (2, 12))
    before = network(input_ids=ids).logits
    copies = deepen(network, 1, 2)
    assert list(copies) == [3, 4]
    assert len(network.model.layers) == network.config.num_hidden_layers == 6
    changed = network(input_ids=ids).logits
    assert not torch.allclose(changed, before)
    for place in copies:
        layer = network.model.layers[place]
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    assert torch.equal(network(input_ids=ids).logits, before)


def test_copies_stand_behind_their_originals_and_are_their_own(network: LlamaForCausalLM) -> None:
    layers = list(network.model.layers)
    deepen(network, 1, 2)
    made = network.model.layers
    assert [made[i] is layers[j] for i, j in ((0, 0), (1, 1), (2, 2), (5, 3))] == [True] * 4
    for new, old in ((made[3], layers[1]), (made[4], layers[2])):
        assert torch.equal(new.mlp.up_proj.weight, old.mlp.up_proj.weight)
        assert new.mlp.up_proj.weight is not old.mlp.up_proj.weight


def test_a_deeper_model_loads_anywhere_and_caches_rightly(
    network: LlamaForCausalLM, tmp_path: Path
) -> None:
    deepen(network, 0, 3)
    network.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(1, 50, (1, 8))
    torch.testing.assert_close(
        again(input_ids=ids).logits, network(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )
    cached, plain = (_continue(network, ids, use_cache) for use_cache in (True, False))
    assert torch.equal(cached, plain)


def _continue(network: Any, ids: torch.Tensor, use_cache: bool) -> torch.Tensor:
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    return network.generate(ids, use_cache=use_cache, **options)


def test_cosines_are_those_of_inputs_and_outputs(network: LlamaForCausalLM) -> None:
    windows = [[1, 2, 3, 4, 5], [6, 7, 8]]
    found = layer_cosines(network, windows)
    sums = torch.zeros(4)
    for window in windows:
        states = network.model.embed_tokens(torch.tensor([window]))
        rotary = network.model.rotary_emb(states, torch.arange(len(window))[None])
        size = len(window)
        mask = torch.full((size, size), float("-inf")).triu(1)[None, None]
        for number, layer in enumerate(network.model.layers):
            output = layer(states, attention_mask=mask, position_embeddings=rotary)
            output = output if isinstance(output, torch.Tensor) else output[0]
            sums[number] += F.cosine_similarity(states, output, dim=-1).sum()
            states = output
    torch.testing.assert_close(torch.tensor(found), sums / 8, atol=1e-5, rtol=1e-4)


def test_the_block_that_changes_least_is_chosen() -> None:
    assert likest_block([0.1, 0.9, 0.95, 0.3, 0.99], 2) == 1
    assert likest_block([0.1, 0.9, 0.95, 0.3, 0.99], 1) == 4
    assert likest_block([0.5, 0.5], 2) == 0
    with pytest.raises(UserError, match="1 to 2 layers, not 3"):
        likest_block([0.5, 0.5], 3)


def test_other_layouts_are_refused(network: LlamaForCausalLM) -> None:
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(UserError, match="not laid out as Llama"):
        layers_of(gpt)
    with pytest.raises(UserError, match="not among the 4"):
        deepen(copy.deepcopy(network), 3, 2)
