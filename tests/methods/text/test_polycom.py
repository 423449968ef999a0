"""PolyCom: checkpoints, warm starts, experts' losses, analysis and the trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
)
from transformers.models.olmoe.modeling_olmoe import load_balancing_loss_func

from pretrial.compare.kit.smooth_functions import DIMENSIONS, TARGETS, Approximators
from pretrial.convert.megatron import flatten, load_megatron
from pretrial.errors import UserError
from pretrial.methods.text.polycom import Config, PolyCom
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.methods.text.polycom.trials import trial
from pretrial.objectives.experts import balance_loss, router_loss

TINY = Config.tiny()
TEXTS = PolyCom.read(PolyCom.sample_rows())


@pytest.fixture(scope="module")
def method() -> PolyCom:
    torch.manual_seed(0)
    return PolyCom.build(TINY, data=TEXTS).eval()


def windows(method: PolyCom, count: int = 4) -> list[list[int]]:
    return list(method.windows(TEXTS * 4))[:count]


# -- settings -------------------------------------------------------------------------------------


def test_paper_pair_has_equal_parameters_but_for_four_a_layer() -> None:
    dense = Config.paper("dense")
    gated = dense.with_activation("silu", gated=True)
    assert gated.feed_forward == 5504
    with torch.device("meta"):
        ours, theirs = (
            sum(p.numel() for p in PolyCom.build(config).export().parameters())
            for config in (dense, gated)
        )
    assert theirs == pytest.approx(1345.4e6, rel=1e-4)
    assert ours - theirs == 4 * 24


def test_arms_have_equal_parameters() -> None:
    trained = [arm for arm in trial().choose(everything=True) if arm.trains]
    counts = set()
    with torch.device("meta"):
        for arm in trained:
            network = PolyCom.build(arm.config).export()
            names = dict(network.named_parameters())
            counts.add(sum(p.numel() for n, p in names.items() if "activation_func" not in n))
    assert len(counts) == 1
    assert len({arm.config.lr for arm in trained}) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"order": 0}, "order"),
        ({"width": 33}, "num_heads"),
        ({"num_experts": 4, "gated": True}, "num_experts=0"),
        ({"num_experts": 4, "experts_per_token": 5}, "1 to 4"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(TINY, **wrong)


# -- experts --------------------------------------------------------------------------------------


def test_losses_of_experts_add_up_over_the_parts_of_a_batch() -> None:
    torch.manual_seed(0)
    method = PolyCom.build(replace(TINY, num_experts=4, experts_per_token=2), data=TEXTS)
    whole = method.batch(windows(method), torch.Generator())
    losses = method.losses(whole)
    assert losses.keys() == {"loss", "text_loss", "balance_loss", "router_loss"}
    parts = [method.batch(windows(method)[i : i + 2], torch.Generator()) for i in (0, 2)]
    for name, value in losses.items():
        split = sum(method.losses({**part, "counts": whole["counts"]})[name] for part in parts)
        torch.testing.assert_close(split, value, msg=name)
    losses["loss"].backward()
    gate = method.network.model.layers[0].mlp.gate.weight
    assert gate.grad.abs().sum() > 0


def test_balance_loss_of_one_sequence_is_that_of_transformers() -> None:
    logits = torch.randn(1, 1, 12, 4, generator=torch.Generator().manual_seed(0))
    expected = load_balancing_loss_func((logits[0, 0],), 4, 2)
    torch.testing.assert_close(balance_loss(logits, 2, 1.0), expected)
    even = torch.zeros(1, 1, 12, 4) + torch.eye(4).repeat(3, 1) * 9
    assert float(balance_loss(even, 1, 1.0)) == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(router_loss(logits, 1.0), logits.logsumexp(-1).square().mean())


# -- checkpoints ----------------------------------------------------------------------------------


def megatron_state(method: PolyCom) -> dict[str, Any]:
    """The weights of a network as Megatron nests and names them."""
    weights = method.network.state_dict()
    encoder = {"final_norm.weight": weights["model.norm.weight"]}
    names = {
        "input_layernorm.weight": "input_norm.weight",
        "post_attention_layernorm.weight": "post_attention_norm.weight",
        "self_attn.o_proj.weight": "self_attention.dense.weight",
        "mlp.up_proj.weight": "mlp.dense_h_to_4h.weight",
        "mlp.down_proj.weight": "mlp.dense_4h_to_h.weight",
        "mlp.activation_func.weight": "mlp.activation_func.weight",
        "mlp.activation_func.bias": "mlp.activation_func.bias",
    }
    heads = method.config.num_heads
    for layer in range(method.config.num_layers):
        ours = f"model.layers.{layer}."
        for name, theirs in names.items():
            encoder[f"layers.{layer}.{theirs}"] = weights[ours + name]
        parts = [
            weights[f"{ours}self_attn.{letter}_proj.weight"].unflatten(0, (heads, -1))
            for letter in "qkv"
        ]
        together = torch.cat(parts, dim=1).flatten(0, 1)
        encoder[f"layers.{layer}.self_attention.query_key_value.weight"] = together
    return {
        "language_model": {
            "embedding": {"word_embeddings": {"weight": weights["model.embed_tokens.weight"]}},
            "encoder": encoder,
            "output_layer": {"weight": weights["lm_head.weight"]},
        }
    }


def changed(method: PolyCom) -> PolyCom:
    """With coefficients that are all different."""
    with torch.no_grad():
        for name, parameter in method.network.named_parameters():
            if "activation_func" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    return method


def test_released_weights_in_megatrons_layout(tmp_path: Path) -> None:
    method = changed(PolyCom.build(TINY, data=TEXTS).eval())
    method.tokenizer.save_pretrained(tmp_path)
    save_file(
        {n: v.clone() for n, v in flatten(megatron_state(method)).items()},
        tmp_path / "model.safetensors",
    )
    sizes = replace(TINY, vocab_size=len(method.tokenizer))
    for source in (tmp_path, tmp_path / "model.safetensors"):
        again = PolyCom.build(sizes, source=source).eval()
        for name, value in method.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[name], value), name
    with pytest.raises(UserError, match="set the sizes"):
        load_megatron(
            PolyCom.build(replace(sizes, num_kv_heads=1)).network, megatron_state(method), "x"
        )
    with pytest.raises(UserError, match="does not fit"):
        PolyCom.build(replace(sizes, num_layers=1), source=tmp_path)


def plain_llama(folder: Path, method: PolyCom, kind: str = "llama") -> Any:
    sizes: dict[str, Any] = {
        "vocab_size": len(method.tokenizer),
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": None,
    }
    torch.manual_seed(0)
    network: Any
    if kind == "llama":
        network = LlamaForCausalLM(LlamaConfig(**sizes))
    else:
        network = OlmoeForCausalLM(OlmoeConfig(**sizes, num_experts=4, num_experts_per_tok=2))
    network.save_pretrained(folder)
    method.tokenizer.save_pretrained(folder)
    return network


@pytest.mark.parametrize("kind", ["llama", "olmoe"])
def test_a_trained_gated_model_is_refused_unless_it_is_trained_again(
    method: PolyCom, tmp_path: Path, kind: str
) -> None:
    network = plain_llama(tmp_path, method, kind)
    with pytest.raises(UserError, match="set warm_start"):
        PolyCom.build(TINY, source=tmp_path)
    warm = PolyCom.build(replace(TINY, warm_start=True), source=tmp_path)
    kept = warm.network.state_dict()
    for name, value in network.state_dict().items():
        if ".mlp." not in name or ".gate.weight" in name:
            assert torch.equal(kept[name], value), name
    ours, theirs = (sum(p.numel() for p in each.parameters()) for each in (warm.network, network))
    assert ours - theirs == 4 * 2
    assert torch.isfinite(warm.losses(warm.batch(windows(warm), torch.Generator()))["loss"])


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="activation_func"):
        PolyCom.build(TINY, source=tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no checkpoint"):
        PolyCom.build(TINY, source=tmp_path / "gone")
    GPT2Config().save_pretrained(tmp_path / "gpt2")  # told by its config, before weights are read
    with pytest.raises(UserError, match="is a gpt2: name a checkpoint of Llama, OLMoE or of poly"):
        PolyCom.build(TINY, source=tmp_path / "gpt2")


# -- use ------------------------------------------------------------------------------------------


def test_analysis_tells_coefficients_ranks_and_similarities(method: PolyCom) -> None:
    rows = list(method.analyse(TEXTS))
    assert [row["layer"] for row in rows] == [0, 1]
    assert rows[0]["coefficients"] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert rows[1]["similarity"][1] == pytest.approx(1.0, abs=1e-4)
    assert rows[0]["similarity"][1] == pytest.approx(rows[1]["similarity"][0], abs=1e-4)
    assert 1 < rows[0]["up_proj_rank"] <= 32
    with pytest.raises(UserError, match="do not fill a window"):
        list(method.analyse(["a"]))


def test_writing_and_scoring(method: PolyCom) -> None:
    written = list(method.generate([TEXTS[0], ""], max_new_tokens=4))
    assert all(isinstance(row["text"], str) for row in written)
    nll, sizes = method.nll(TEXTS[:2])
    assert min(nll) > 0
    assert sizes == [len(text) for text in TEXTS[:2]]
    with pytest.raises(UserError, match="lower max_new_tokens"):
        list(method.generate(TEXTS, max_new_tokens=16))


def test_texts_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="no field 'text'"):
        PolyCom.read([{"body": "a"}])
    with pytest.raises(UserError, match="is a int"):
        PolyCom.read([{"text": 3}])


# -- functions ------------------------------------------------------------------------------------


def test_networks_for_functions_have_equal_parameters_and_learn() -> None:
    counts = {}
    makers: dict[str, Any] = {
        "polynorm": PolynomialActivation,
        "polyrelu": lambda: PolynomialActivation("relu", "outside"),
        "relu": torch.nn.ReLU,
        "gelu": torch.nn.GELU,
    }
    for name, make in makers.items():
        torch.manual_seed(0)
        networks = Approximators(make)
        counts[name] = sum(p.numel() for p in networks.parameters())
    num = len(TARGETS) * len(DIMENSIONS)
    assert counts["relu"] == counts["gelu"]
    assert counts["polynorm"] - counts["relu"] == counts["polyrelu"] - counts["relu"] == 8 * num
    batch = networks.batch(range(64), torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-2)
    before = networks.relative_rmse()
    for _ in range(30):
        loss = networks.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(networks.relative_rmse()) < sum(before)
    assert len(before) == num
