"""MosaicBERT: its defining properties, parity, recipe, trial."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM

from pretrial.compare.kit.masked_scores import beyond, masked_scores
from pretrial.methods.text import mlm
from pretrial.methods.text.mosaicbert import Config, MosaicBERT
from pretrial.methods.text.mosaicbert.trials import trial
from pretrial.models.layers.alibi import alibi_bias
from pretrial.train.budget import Budget
from pretrial.train.describe import describe
from pretrial.train.run import Run

TEXTS = MosaicBERT.read(MosaicBERT.sample_rows())
TINY = Config.tiny()


def make(**changes):
    torch.manual_seed(0)
    return MosaicBERT.build(replace(TINY, **changes), data=TEXTS)


def windows_of(method, texts=TEXTS[:8]):
    ids = method.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [row[: 3 + 3 * number] for number, row in enumerate(ids)]  # of unlike lengths


def batch_of(method, seed=0):
    return method.batch(windows_of(method), torch.Generator().manual_seed(seed))


def same_weights(method, **changes):
    """The same network with other switches."""
    other = make(**changes)
    other.network.load_state_dict(method.network.state_dict())
    return other


@pytest.fixture(scope="module")
def method():
    return make()


# -- mechanism ------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"alibi": False}, {"gated": False}], ids=str)
def test_without_padding_everything_is_as_with_it(changes):
    method = make(**changes)
    padded = same_weights(method, unpadded=False, **changes)
    ours, theirs = method.losses(batch_of(method)), padded.losses(batch_of(padded))
    torch.testing.assert_close(ours["loss"], theirs["loss"], rtol=1e-5, atol=1e-5)
    for each, losses in ((method, ours), (padded, theirs)):
        losses["loss"].backward()
        assert all(p.grad is not None for p in each.parameters())
    for (name, one), other in zip(method.named_parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_states_are_the_same_with_padding_and_its_content_is_irrelevant(method):
    padded = same_weights(method, unpadded=False).eval()
    batch = batch_of(method)
    ids, real = batch["labels"], batch["attention_mask"]
    junk = torch.where(real, ids, 99)
    with torch.no_grad():
        states = method.network.bert(ids, real.long()).last_hidden_state
        assert torch.equal(method.network.bert(junk, real.long()).last_hidden_state, states)
        other = padded.network.bert(junk, real.long()).last_hidden_state
    torch.testing.assert_close(states[real], other[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unpadded", [True, False])
def test_a_text_can_be_moved_inside_its_padding(method, unpadded):
    network = same_weights(method, unpadded=unpadded).network.bert.eval()
    ids = torch.randint(10, 200, (2, 6))
    states = []
    for left, right in ((0, 5), (3, 2), (5, 0)):
        moved = F.pad(ids, (left, right))
        mask = F.pad(torch.ones_like(ids), (left, right))
        with torch.no_grad():
            states.append(network(moved, mask).last_hidden_state[:, left : left + 6])
    for other in states[1:]:
        torch.testing.assert_close(other, states[0], rtol=1e-5, atol=1e-5)


def test_the_short_tail_gives_the_loss_and_the_gradients_of_the_whole_one(method):
    whole = same_weights(method, masked_tail=False)
    batch = batch_of(method)
    one, other = method.losses(batch)["loss"], whole.losses(batch)["loss"]
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad(one, list(method.parameters()))
    theirs = torch.autograd.grad(other, list(whole.parameters()))
    for grad, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-4, atol=1e-6)


def test_the_tail_does_no_work_for_tokens_that_are_not_asked_for(method):
    seen = {}
    last = method.network.bert.encoder.layer[-1]
    hooks = [
        part.register_forward_hook(lambda _, inputs, __, n=name: seen.update({n: len(inputs[0])}))
        for name, part in (
            ("qkv", last.attention.self.Wqkv),
            ("output", last.attention.output.dense),
            ("mlp", last.mlp),
            ("head", method.network.cls.predictions.decoder),
        )
    ]
    batch = batch_of(method)
    method.losses(batch)
    for hook in hooks:
        hook.remove()
    chosen, tokens = len(batch["positions"]), int(batch["attention_mask"].sum())
    assert seen == {"qkv": tokens, "output": chosen, "mlp": chosen, "head": chosen}
    assert chosen < tokens < batch["attention_mask"].numel()


def test_texts_of_four_times_the_training_length_need_no_new_weight(method):
    ids = torch.randint(10, 200, (1, 4 * TINY.max_length))
    with torch.no_grad():
        logits = method.network(ids).logits
    assert logits.shape == (1, 96, 320)
    assert torch.isfinite(logits).all()
    assert not any("position" in name for name, _ in method.network.named_parameters())
    assert {"mlm_loss_24", "mlm_loss_48"} <= beyond(method, [" ".join(TEXTS)], (24, 48)).keys()


def test_thirty_percent_are_hidden_in_training_and_fifteen_in_evaluation(method):
    rows = [list(range(10, 110)) for _ in range(8)]
    for mode, ratio in ((True, 0.3), (False, 0.15)):
        batch = method.train(mode).batch(rows, torch.Generator().manual_seed(0))
        assert batch["counts"]["masked"] / 800 == pytest.approx(ratio, abs=0.01)
    method.train()


def test_under_bfloat16_norms_stay_in_it(method):
    exact = same_weights(method, low_precision_norm=False)
    batch = batch_of(method)
    kinds = {}
    for name, each in (("low", method), ("torch's", exact)):
        norm = each.network.bert.encoder.layer[0].attention.output.LayerNorm
        hook = norm.register_forward_hook(lambda _, __, out, n=name: kinds.update({n: out.dtype}))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = each.losses(batch)["loss"]
        loss.backward()
        hook.remove()
        exactly = each.losses(batch)["loss"]
        torch.testing.assert_close(loss.detach(), exactly.detach(), rtol=0.02, atol=0)
    assert kinds == {"low": torch.bfloat16, "torch's": torch.float32}
    method.zero_grad()


def test_the_recipe_decays_apart_from_the_rate_and_ends_at_a_fiftieth(method, tmp_path):
    run = Run(tmp_path, TEXTS, budget=Budget(4, "steps"), quiet=True)
    stage = next(make(lr=2e-3).stages(run))
    assert stage.optim.weight_decay * 2e-3 == pytest.approx(1e-5)
    assert (stage.optim.betas, stage.optim.eps) == ((0.9, 0.98), 1e-6)
    assert stage.optim.final_ratio == 0.02


# -- parity ---------------------------------------------------------------------------------------


def reference(state, ids, mask, num_layers, num_heads):
    """MosaicBERT's logits, with padding, from its weights by their public names."""

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-12)

    size, length = ids.shape
    words = state["bert.embeddings.word_embeddings.weight"]
    x = words[ids] + state["bert.embeddings.token_type_embeddings.weight"][0]
    x = norm("bert.embeddings.LayerNorm", x)
    bias = alibi_bias(num_heads, length, x) + (1.0 - mask[:, None, None].float()) * -10000.0
    for number in range(num_layers):
        layer = f"bert.encoder.layer.{number}"
        qkv = linear(f"{layer}.attention.self.Wqkv", x).view(size, length, 3, num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        mixed = linear(f"{layer}.attention.output.dense", mixed)
        x = norm(f"{layer}.attention.output.LayerNorm", mixed + x)
        both = x @ state[f"{layer}.mlp.gated_layers.weight"].T
        gate, value = both.split(both.shape[-1] // 2, dim=-1)
        x = norm(f"{layer}.mlp.layernorm", linear(f"{layer}.mlp.wo", F.gelu(gate) * value) + x)
    x = F.gelu(linear("cls.predictions.transform.dense", x))
    x = norm("cls.predictions.transform.LayerNorm", x)
    return linear("cls.predictions.decoder", x)


def test_logits_are_those_of_the_release(method):
    batch = batch_of(method)
    state = {name: value.detach() for name, value in method.network.state_dict().items()}
    with torch.no_grad():
        ours = method.network(batch["labels"], attention_mask=batch["attention_mask"].long()).logits
        theirs = reference(state, batch["labels"], batch["attention_mask"], 2, 2)
    torch.testing.assert_close(
        ours[batch["attention_mask"]], theirs[batch["attention_mask"]], rtol=1e-4, atol=1e-4
    )


def test_with_every_part_off_this_is_bert():
    off = {"alibi": False, "gated": False, "unpadded": False, "masked_tail": False}
    method = make(**off)
    sizes = BertConfig(
        vocab_size=320,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    bert = BertForMaskedLM(sizes).eval()
    ours = method.network.state_dict()
    for name, weight in bert.state_dict().items():
        for theirs, mine in (
            ("intermediate.dense", "mlp.wi"),
            ("layer.0.output.dense", "layer.0.mlp.wo"),
            ("layer.1.output.dense", "layer.1.mlp.wo"),
            ("layer.0.output.LayerNorm", "layer.0.mlp.layernorm"),
            ("layer.1.output.LayerNorm", "layer.1.mlp.layernorm"),
            ("cls.predictions.bias", "cls.predictions.decoder.bias"),
        ):
            name = name.replace(theirs, mine)
        for part, index in (("query", 0), ("key", 1), ("value", 2)):
            if f"self.{part}." in name:
                name = name.replace(part, "Wqkv")
                weight = torch.cat(
                    [*ours[name].chunk(3)[:index], weight, *ours[name].chunk(3)[index + 1 :]]
                )
        ours[name] = weight
    method.network.load_state_dict(ours)
    batch = batch_of(method)
    mask = batch["attention_mask"].long()
    labels = batch["labels"].masked_fill(~batch["loss_mask"], -100)
    theirs = bert(batch["input_ids"], attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(method.losses(batch)["loss"], theirs, rtol=1e-5, atol=1e-5)


# -- work and trial -------------------------------------------------------------------------------


def test_the_work_that_is_counted_is_less_without_padding(tmp_path):
    flops = {}
    for unpadded in (True, False):
        run = Run(tmp_path / str(unpadded), TEXTS, budget=Budget(4, "steps"), quiet=True)
        stage = next(make(unpadded=unpadded).stages(run))
        flops[unpadded] = describe(stage)["flops_per_step"]
    assert 0 < flops[True] < 0.95 * flops[False]


def test_scores_are_of_the_same_tokens_for_both_sides_of_the_trial(method):
    baseline = mlm.MLM.build(mlm.Config.tiny(), data=TEXTS).eval()
    ours = masked_scores(method.eval(), TEXTS, 24)
    theirs = masked_scores(baseline, TEXTS, 24)
    assert ours["mlm_loss"].groups == theirs["mlm_loss"].groups
    assert set(ours["mlm_loss"].groups) == set(range(len(TEXTS)))
    one, other = (
        each.batch([list(range(10, 30))] * 3, torch.Generator().manual_seed(0))
        for each in (method, baseline)
    )
    assert one["positions"].tolist() == other["positions"].tolist()
    assert torch.equal(one["input_ids"], other["input_ids"])
    method.train()


def test_arms_differ_by_one_switch_each():
    arms = {arm.name: arm for arm in trial().arms}
    assert [arm.name for arm in trial().choose()] == [
        *("mosaicbert", "mlm", "random"),
        *("shares", "neighbours"),
    ]
    ours = vars(arms["mosaicbert"].config)
    for name in ("padded", "whole-tail", "positions", "ungated", "mask-15"):
        other = vars(arms[name].config)
        assert sum(ours[key] != other[key] for key in ours) == 1, name
    for name in ("lr", "warmup", "batch_size", "max_length", "num_layers", "width", "vocab_size"):
        assert ours[name] == getattr(arms["mlm"].config, name)
