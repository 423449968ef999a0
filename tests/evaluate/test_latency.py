"""Decoding speed: who is timed, how often, and what caches hold."""

from __future__ import annotations

import pytest
import torch

from pretrial.errors import UserError
from pretrial.evaluate.latency import decoding_speed
from pretrial.methods.text.return_of_encoder.network.mu import (
    MuConfig,
    MuForCausalLM,
    MuForConditionalGeneration,
)


def models():
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    both = MuConfig(encoder_layers=2, decoder_layers=1, **sizes)
    single = MuConfig(encoder_layers=0, decoder_layers=3, is_encoder_decoder=False, **sizes)
    return {
        "both": MuForConditionalGeneration(both).eval(),
        "single": MuForCausalLM(single).eval(),
    }


def test_every_model_is_timed_in_every_round_and_its_caches_are_counted():
    found = decoding_speed(models(), num_input=9, num_output=4, rounds=3)
    for speed in found.values():
        assert len(speed.first_token) == len(speed.whole) == 3
        assert all(0 < a < b for a, b in zip(speed.first_token, speed.whole, strict=True))
        assert speed.rates[0] == pytest.approx(4 / speed.whole[0])
        rest = speed.whole[0] - speed.first_token[0]
        assert speed.later_rates[0] == pytest.approx(3 / rest)
    number = 2 * 8 * 4  # keys and values, 8 numbers of 4 bytes, of a position in a layer
    # one layer: the input, and of the output the start token and all tokens but the last
    assert found["both"].cache_bytes == number * (9 + 4)
    # three layers: the input and all tokens but the last
    assert found["single"].cache_bytes == number * 3 * (9 + 3)


def test_nothing_to_time_is_refused():
    with pytest.raises(UserError, match="two tokens of output"):
        decoding_speed(models(), num_input=4, num_output=1)
