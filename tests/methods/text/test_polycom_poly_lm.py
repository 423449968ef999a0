"""Llama and OLMoE with polynomial activations as models of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from pretrial.errors import UserError
from pretrial.methods.text.polycom.network.language_model import (
    PolyLlamaConfig,
    PolyLlamaForCausalLM,
    PolyOlmoeConfig,
    PolyOlmoeForCausalLM,
)
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.models.layers.feed_forward import Experts

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": None,
    "eos_token_id": 1,
}
IDS = torch.randint(0, 60, (2, 9), generator=torch.Generator().manual_seed(0))


def olmoe(**options: Any) -> PolyOlmoeForCausalLM:
    torch.manual_seed(0)
    sizes = {**SIZES, "num_experts": 4, "num_experts_per_tok": 2, "hidden_act": "polynorm"}
    return PolyOlmoeForCausalLM(PolyOlmoeConfig(**{**sizes, **options})).eval()


def llama(**options: Any) -> PolyLlamaForCausalLM:
    torch.manual_seed(0)
    return PolyLlamaForCausalLM(
        PolyLlamaConfig(**{**SIZES, "hidden_act": "polynorm", **options})
    ).eval()


def test_gated_with_silu_is_llama() -> None:
    torch.manual_seed(0)
    plain = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    ours = llama(hidden_act="silu", gated=True)
    ours.load_state_dict(plain.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS).logits, plain(IDS).logits)


def test_as_many_parameters_as_the_gated_pair_but_for_four_a_layer() -> None:
    with torch.device("meta"):
        gated = PolyLlamaForCausalLM(
            PolyLlamaConfig(**{**SIZES, "hidden_act": "silu", "gated": True})
        )
        poly = PolyLlamaForCausalLM(
            PolyLlamaConfig(**{**SIZES, "hidden_act": "polynorm", "intermediate_size": 36})
        )
    gap = sum(p.numel() for p in poly.parameters()) - sum(p.numel() for p in gated.parameters())
    assert gap == 4 * SIZES["num_hidden_layers"]


@pytest.mark.parametrize("make", [llama, olmoe])
def test_the_auto_class_loads_what_was_saved(make: Any, tmp_path: Path) -> None:
    model = make(poly_order=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "activation_func" in name:
                parameter.normal_()
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(again) is type(model)
    assert again.config.poly_order == 2
    with torch.no_grad():
        torch.testing.assert_close(again(IDS).logits, model(IDS).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [llama, olmoe])
def test_weights_begin_with_the_deviation_of_the_config(make: Any) -> None:
    model = make(initializer_range=0.05)
    for name, parameter in model.named_parameters():
        if "up_proj" in name or "down_proj" in name:
            assert 0.04 < float(parameter.detach().std()) < 0.06, name


@pytest.mark.parametrize("make", [llama, olmoe])
def test_cached_writing_is_that_of_a_whole_pass(make: Any) -> None:
    model = make()
    written = model.generate(IDS[:1], max_new_tokens=5, do_sample=False, min_new_tokens=5)
    with torch.no_grad():
        logits = model(written).logits
    assert written[0, 9:].tolist() == logits[0, 8:-1].argmax(-1).tolist()


@pytest.mark.parametrize("make", [llama, olmoe])
def test_the_way_of_attention_can_be_chosen(make: Any) -> None:
    model = make()
    assert model.config._attn_implementation == "sdpa"
    with torch.no_grad():
        before = model(IDS).logits
        model.set_attn_implementation("eager")
        assert model.model.layers[0].self_attn.config._attn_implementation == "eager"
        torch.testing.assert_close(model(IDS).logits, before, atol=1e-5, rtol=1e-4)


def test_experts_normalise_their_own_hidden_vectors() -> None:
    torch.manual_seed(1)
    experts = Experts(olmoe().config, PolynomialActivation())
    x = torch.randn(6, 16)
    places = torch.tensor([[0, 1], [1, 2], [2, 0], [0, 3], [1, 0], [2, 1]])
    weights = torch.rand(6, 2)
    expected = torch.zeros(6, 16)
    for token in range(6):
        for slot in range(2):
            number = int(places[token, slot])
            hidden = F.linear(x[token], experts.up_proj[number])
            value = sum(
                (hidden**i) / (hidden**i).square().mean().add(1e-6).sqrt() for i in (1, 2, 3)
            )
            expected[token] += weights[token, slot] * F.linear(value / 3, experts.down_proj[number])
    with torch.no_grad():
        torch.testing.assert_close(experts(x, places, weights), expected, atol=1e-5, rtol=1e-4)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(UserError, match="polynorm"):
        llama(hidden_act="polynrom")
