"""Cross-attention put into language models that were trained without one."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from pretrial.errors import UserError
from pretrial.methods.code.codet5p.network.cross_attention import add_cross_attention


def decoders():
    llama = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    return {
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=4)),
        "llama": LlamaForCausalLM(llama),
        "codegen": CodeGenForCausalLM(
            CodeGenConfig(vocab_size=50, n_embd=16, n_layer=3, n_head=4, rotary_dim=4)
        ),
    }


@pytest.fixture(params=["gpt2", "llama", "codegen"])
def decoder(request):
    return decoders()[request.param].eval()


def memory(batch=2, length=5, width=16):
    return torch.randn(batch, length, width), torch.ones(batch, length, dtype=torch.bool)


IDS = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(0))


def test_zeroed_output_leaves_the_model_as_it_was(decoder):
    before = decoder(IDS).logits
    (cross,) = add_cross_attention(decoder, 1)
    assert torch.equal(decoder(IDS).logits, before)  # nothing to read
    cross.memory = memory()
    assert not torch.allclose(decoder(IDS).logits, before, atol=1e-6)
    torch.nn.init.zeros_(cross.out_proj.weight)
    torch.testing.assert_close(decoder(IDS).logits, before, atol=1e-6, rtol=0)


def test_four_square_matrices_a_layer_and_none_in_the_decoder(decoder):
    names = set(dict(decoder.named_parameters()))
    added = add_cross_attention(decoder, 2)
    assert sum(p.numel() for p in added.parameters()) == 2 * 4 * 16**2
    assert set(dict(decoder.named_parameters())) == names


def test_the_future_stays_unseen_and_padding_unread(decoder):
    (cross,) = add_cross_attention(decoder, 1)
    cross.memory = memory()
    logits = decoder(IDS).logits
    other = IDS.clone()
    other[:, 4:] = 0
    torch.testing.assert_close(decoder(other).logits[:, :4], logits[:, :4])
    states, real = cross.memory
    longer = torch.cat([states, torch.randn(2, 3, 16)], dim=1)
    cross.memory = longer, torch.cat([real, torch.zeros(2, 3, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(decoder(IDS).logits, logits)


@pytest.mark.parametrize("rotary_dim", [0, 4])
def test_cached_steps_equal_the_whole(decoder, rotary_dim):
    (cross,) = add_cross_attention(decoder, 1, rotary_dim=rotary_dim)
    cross.memory = memory()
    wanted = decoder(IDS).logits
    cache, found = None, []
    for place in range(IDS.shape[1]):
        cross.offset = place
        step = decoder(IDS[:, place : place + 1], past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        found.append(step.logits)
    torch.testing.assert_close(torch.cat(found, dim=1), wanted, atol=1e-5, rtol=1e-4)


def test_a_copy_reads_its_own_memory():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = decoders()["gpt2"].eval()
            self.cross = add_cross_attention(self.decoder, 1)

    both = Both()
    before = both.decoder(IDS).logits
    other = copy.deepcopy(both)
    other.cross[0].memory = memory()
    assert torch.equal(both.decoder(IDS).logits, before)
    assert not torch.allclose(other.decoder(IDS).logits, before, atol=1e-6)


def test_layers_that_are_not_there():
    with pytest.raises(UserError, match="1 to 3 layers"):
        add_cross_attention(decoders()["gpt2"], 4)
