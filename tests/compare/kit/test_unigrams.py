"""A network that says frequencies says them everywhere, and nothing else."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from pretrial.compare.kit.unigrams import say_frequencies

SIZES = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_each_token_has_its_share_whatever_stands_before_it() -> None:
    network = LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=8))
    say_frequencies(network, [[1, 1, 2], [1]])
    logits = network(input_ids=torch.tensor([[3, 1, 7], [0, 0, 5]])).logits
    shares = logits.softmax(-1)
    wanted = torch.tensor([1, 4, 2, 1, 1, 1, 1, 1]) / 12
    torch.testing.assert_close(shares, wanted.expand(2, 3, 8))


def test_the_scale_of_a_tied_t5_changes_nothing() -> None:
    sizes = {"vocab_size": 8, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    network = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).eval()
    say_frequencies(network, [[7] * 8])
    ids = torch.tensor([[1, 2]])
    shares = network(input_ids=ids, decoder_input_ids=ids).logits.softmax(-1)
    assert shares[0, :, 7].tolist() == pytest.approx([9 / 16] * 2)
