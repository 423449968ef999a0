"""Continual learning of APIs: strategies, budgets, the matrix, resuming, checkpoints."""

import itertools
import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.errors import UserError
from pretrial.methods.code.api_continual import APIContinual, Config
from pretrial.methods.code.api_continual.data import by_domain
from pretrial.methods.code.api_continual.stages.report import as_matrices, summary, table
from pretrial.methods.code.api_continual.trials import trial
from pretrial.objectives.continual import flat
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import weights_of
from pretrial.train.loop import Stopped, train
from pretrial.train.run import Run

ROWS = APIContinual.sample_rows()
DATA = APIContinual.read(ROWS)
TINY = replace(Config.tiny(), batch_size=4, keep_checkpoints=False)
STRATEGIES = ("naive", "cumulative", "replay", "ewc", "si", "rwalk")


def make(source=None, **changes):
    torch.manual_seed(0)
    return APIContinual.build(replace(TINY, **changes), source=source, data=DATA)


def run_in(folder, steps=12, kind=Run, data=DATA, held_out=DATA, seed=0):
    budget = Budget(steps, "steps") if steps else None
    return kind(folder, data, held_out, budget=budget, seed=seed, quiet=True)


def trained(folder, *, steps=12, kind=Run, held_out=DATA, **changes):
    method = make(**changes)
    train(method, run_in(folder, steps, kind, held_out=held_out))
    return method


def same_weights(one, other, prefix=""):
    one, other = weights_of(one), weights_of(other)
    names = [name for name in one if name.startswith(prefix)]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)


# -- strategies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ewc", "si", "rwalk"])
def test_a_penalty_of_weight_0_is_naive_bit_for_bit(tmp_path, name):
    naive = trained(tmp_path / "naive", strategy="naive", held_out=())
    # importances take nothing from a budget in epochs
    free = {"epochs": 2, "steps": 0}
    naive = trained(tmp_path / "plain", strategy="naive", held_out=(), **free)
    changes = {"strategy": name, f"{name}_weight": 0.0}
    guarded = trained(tmp_path / name, held_out=(), **changes, **free)
    assert guarded.guard.strength.any()
    assert same_weights(naive, guarded, "language_model.network.")
    changes[f"{name}_weight"] = 100.0
    heavy = trained(tmp_path / "heavy", held_out=(), **changes, **free)
    assert not same_weights(naive, heavy, "language_model.network.")


def test_a_heavy_penalty_keeps_the_weights_where_they_were(tmp_path):
    def travelled(weight):
        """Squared distance from the first domain's weights, by their importance for it."""
        folder = tmp_path / str(weight)
        method = trained(folder, strategy="ewc", ewc_weight=weight, steps=24, held_out=())
        importance = load_file(folder / "artefacts/importance-1-arrays/importance.safetensors")
        done = load_file(folder / "stages/1-arrays/done/weights.safetensors")
        names = (f"language_model.network.{name}" for name, _ in method.network.named_parameters())
        before = flat(done[name] for name in names)
        gap = flat(method.network.parameters()).detach() - before
        return float((importance["importance"] * gap**2).sum())

    assert travelled(1e4) < 0.2 * travelled(0.0)


def test_the_last_cumulative_domain_has_the_joint_data(tmp_path):
    method = make(strategy="cumulative")
    found = {stage.name: list(stage.data) for stage in method.stages(run_in(tmp_path, held_out=()))}
    parts = [method.windows(own) for own in by_domain(DATA).values()]
    assert found["1-arrays"] == parts[0]
    assert found["2-graphs"] == parts[0] + parts[1]
    other = make(strategy="naive")
    stages = list(other.stages(run_in(tmp_path / "naive", held_out=())))
    assert [list(stage.data) for stage in stages] == parts


def test_replay_mixes_in_as_many_remembered_sequences(tmp_path):
    method = make(strategy="replay", memory_size=3)
    stages = method.stages(run_in(tmp_path, held_out=()))
    first = next(stages)
    assert first.batch_size == 4
    assert method.batch(first.data[:4], torch.Generator())["input_ids"].shape[0] == 4
    second = next(stages)
    assert second.batch_size == 2
    assert len(method.remembered) == 3
    assert all(sequence in first.data for sequence in method.remembered)
    batch = method.batch(second.data[:2], torch.Generator().manual_seed(0))
    assert batch["input_ids"].shape[0] == 4
    assert batch["counts"]["examples"] == 2
    pad = method.tokenizer.eos_token_id
    for row in batch["input_ids"][2:].tolist():
        assert any(
            row[: len(own)] == own and set(row[len(own) :]) <= {pad} for own in method.remembered
        )


def test_importances_come_from_examples_or_as_released_from_batches(tmp_path):
    of_examples = trained(tmp_path / "a", strategy="ewc", lr=0.0)
    of_batches = trained(tmp_path / "b", strategy="ewc", lr=0.0, release_importance=True)
    domains = by_domain(DATA)
    one = of_examples.guard.strength
    generator = torch.Generator().manual_seed(0)
    expected = torch.zeros_like(one)
    for own in domains.values():
        windows = of_examples.windows(own)
        for window in windows:
            loss = of_examples.language_loss(of_examples.batch([window], generator))
            grads = torch.autograd.grad(loss, list(of_examples.network.parameters()))
            expected += flat(grads) ** 2 / len(windows)
    torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-7)
    assert float(of_batches.guard.strength.sum()) < float(one.sum())


@pytest.mark.parametrize("unit", ["steps", "tokens"])
def test_importances_are_paid_from_the_budget(tmp_path, unit):
    amount = 60 if unit == "steps" else 6000
    spent = {}
    for strategy in ("naive", "ewc"):
        method = make(strategy=strategy)
        run = Run(tmp_path / strategy, DATA, budget=Budget(amount, unit), quiet=True)
        train(method, run)
        spent[strategy] = run.spent
    assert spent["ewc"].by_purpose["importance"][unit] > 0
    one_step = 1 if unit == "steps" else 4 * TINY.max_length
    # two stages may go over by a step each
    for found in spent.values():
        assert found.total(unit) == pytest.approx(amount, abs=2 * one_step + 1)


# -- the matrix -----------------------------------------------------------------------------------


def test_a_model_that_is_never_updated_forgets_nothing(tmp_path):
    method = trained(tmp_path, strategy="naive", lr=0.0, weight_decay=0.0)
    assert len(method.history) == 3
    rows = [row["scores"] for row in method.history]
    assert rows[0] == rows[1] == rows[2]
    for metric in ("top1", "top5", "nll"):
        found = summary(method.history, metric)
        assert found.forgetting == 0
        assert found.backward_transfer == 0


def test_matrix_and_curves_lie_in_the_run(tmp_path, capsys):
    method = make(strategy="replay")
    run = Run(tmp_path, DATA, DATA, budget=Budget(60, "steps"))
    train(method, run)
    numbers = json.loads((tmp_path / "artefacts/forgetting/matrix.json").read_text())
    assert numbers["domains"] == ["arrays", "graphs"]
    assert len(numbers["top1"]) == len(numbers["top1"][0]) == 2
    assert numbers["state"]["tokens_remembered"] > 0
    assert numbers["seconds"]["train"] > 0
    # what was trained on is known in the end
    assert numbers["nll"][0][0] < numbers["before"]["nll"][0]
    page = (tmp_path / "artefacts/forgetting/curves.html").read_text()
    assert page.count("<svg") == 3
    said = capsys.readouterr().out
    for line in table(method.history):
        assert line in said
    assert as_matrices(method.history)["top1"] == numbers["top1"]


def test_checkpoints_after_each_domain_are_models(tmp_path):
    method = trained(tmp_path, keep_checkpoints=True)
    again = APIContinual.build(TINY, source=tmp_path / "artefacts/after-2-graphs/model")
    assert same_weights(method, again, "language_model.network.")
    assert again.remembered == method.remembered
    first = APIContinual.build(TINY, source=tmp_path / "artefacts/after-1-arrays/model")
    assert not same_weights(first, again, "language_model.network.")


def test_training_goes_on_with_what_an_earlier_run_remembers(tmp_path):
    for strategy in ("replay", "ewc"):
        folder = tmp_path / strategy
        method = trained(folder / "run", strategy=strategy)
        method.save(folder / "model")
        again = make(source=folder / "model", strategy=strategy)
        other = make(source=folder / "model", strategy="naive")
        assert other.guard is None
        rows = [{"text": "t = torch.ones(3).view(1)\n" * 9, "domain": "tensors"}]
        train(again, run_in(folder / "more", data=APIContinual.read(rows), held_out=()))
        if strategy == "replay":
            assert again.num_seen > method.num_seen
        else:
            assert float(again.guard.strength.sum()) > float(method.guard.strength.sum())
        assert {"zeros", "add_node"} <= set(again.names)


def test_patience_gives_back_the_best_weights(tmp_path):
    text = "def f{0}(x):\n    return np.zeros({0}) + np.ones({0}).sum()\n"
    rows = [{"text": text.format(n), "domain": "arrays"} for n in range(30)]
    data = APIContinual.read(rows)
    method = APIContinual.build(replace(TINY, patience=2, lr=0.02, epochs=30), data=data)
    run = Run(tmp_path, data, quiet=True)
    train(method, run)
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    seen = [row["eval/call_loss"] for row in log if "eval/call_loss" in row]
    assert len(seen) >= 3
    best = seen.index(min(seen))
    assert len(seen) - 1 - best == 2 or run.spent.total("steps") % 30 == 0
    few = APIContinual.read([{"text": "x = 1\n" * 40, "domain": "d"}] * 4)
    method = APIContinual.build(replace(TINY, patience=2), data=few)
    with pytest.raises(UserError, match="--patience 0"):
        next(method.stages(Run(tmp_path / "few", few, quiet=True)))


# -- resuming -------------------------------------------------------------------------------------


class InterruptedRun(Run):
    """A run that is asked to stop at every fourth step."""

    steps = 0

    def book(self, purpose, **amounts):
        super().book(purpose, **amounts)
        if self.stage and amounts.get("steps") == 1:
            InterruptedRun.steps += 1
            if InterruptedRun.steps % 4 == 0:
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("changes", [*({"strategy": s} for s in STRATEGIES), {"encoder": True}])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, changes):
    if changes.pop("encoder", False):
        changes = {"architecture": "encoder", "strategy": "replay"}
    whole = trained(tmp_path / "whole", steps=14, held_out=DATA[::3], **changes)
    method, stops = None, 0
    while method is None:
        try:
            method = trained(
                tmp_path / "parts", steps=14, kind=InterruptedRun, held_out=DATA[::3], **changes
            )
        except Stopped:
            stops += 1
            assert stops < 20
    assert stops >= 2
    assert same_weights(whole, method)
    assert whole.history == method.history
    assert whole.remembered == method.remembered


# -- pre-training ---------------------------------------------------------------------------------


def test_pre_training_comes_first_and_is_no_domain(tmp_path):
    rows = [{"text": row["text"], "domain": "base"} for row in ROWS[6:]] + ROWS
    data = APIContinual.read(rows)
    config = replace(TINY, strategy="rwalk", pretrain_on="base", pretrain_ratio=0.25)
    method = APIContinual.build(config, data=data)
    run = Run(tmp_path, data, DATA, budget=Budget(40, "steps"), quiet=True)
    names = []
    for stage in method.stages(run):
        names.append((stage.name, stage.budget.amount))
        assert method.pretraining is (stage.name == "pretrain")
    assert names == [("pretrain", 10), ("1-arrays", 15), ("2-graphs", 15)]
    assert not method.guard.num_steps
    with pytest.raises(UserError, match="pretrain_on"):
        next(make(pretrain_on="nowhere").stages(run_in(tmp_path / "none")))


def test_order_can_be_given_and_mistakes_are_told(tmp_path):
    assert list(by_domain(DATA, ("graphs", "arrays"))) == ["graphs", "arrays"]
    with pytest.raises(UserError, match="nearest domain: graphs"):
        by_domain(DATA, ("graph", "arrays"))
    with pytest.raises(UserError, match="each domain once"):
        by_domain(DATA, ("graphs",))
    with pytest.raises(UserError, match="--fields domain="):
        next(make().stages(run_in(tmp_path, data=APIContinual.read([{"text": "x = 1"}]))))
    for wrong, word in (
        ({"batch_size": 5}, "multiples of 2"),
        ({"pretrain_ratio": 1.0}, "pretrain_ratio"),
        ({"max_length": 99}, "positions"),
        ({"replay_per_new": 0}, "replay_per_new"),
    ):
        with pytest.raises(UserError, match=word):
            replace(TINY, **wrong)
    with pytest.raises(UserError, match="is a int"):
        APIContinual.read([{"text": 1}])
    with pytest.raises(UserError, match="'call' and 'start'"):
        APIContinual.read([{"text": "x", "calls": [{"call": "x"}]}])


# -- checkpoints and parity -----------------------------------------------------------------------


def save_with_tokenizer(network, folder, tokenizer):
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_the_released_decoder_loads_and_its_loss_is_that_of_transformers(tmp_path):
    tokenizer = make().tokenizer
    config = GPT2Config(  # the options of code-gpt2-small_config.json
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=64,
        reorder_and_upcast_attn=True,
        scale_attn_by_inverse_layer_idx=True,
        bos_token_id=1,
        eos_token_id=1,
    )
    torch.manual_seed(1)
    network = GPT2LMHeadModel(config).eval()
    save_with_tokenizer(network, tmp_path, tokenizer)
    method = make(source=tmp_path).eval()
    windows = [w for w in method.windows(DATA) if len(w) == TINY.max_length][:3]
    batch = method.batch(windows, torch.Generator())
    with torch.no_grad():
        ours = method.losses(batch)["loss"]
        theirs = network(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert method.names[:2] == make().names[:2]


@pytest.mark.parametrize("kind", [RobertaForMaskedLM, RobertaForCausalLM])
def test_released_encoders_load_as_encoders(tmp_path, kind):
    tokenizer = make(architecture="encoder").tokenizer
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=tokenizer.pad_token_id,
        is_decoder=kind is RobertaForCausalLM,
    )
    torch.manual_seed(1)
    network = kind(config).eval()
    save_with_tokenizer(network, tmp_path, tokenizer)
    method = make(source=tmp_path).eval()
    assert method.config.architecture == "encoder"
    assert type(method.network) is RobertaForMaskedLM
    plain = RobertaForMaskedLM(RobertaConfig(**{**config.to_dict(), "is_decoder": False})).eval()
    plain.load_state_dict(network.state_dict())
    batch = method.batch(method.windows(DATA)[:3], torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = method.losses(batch)["loss"]
        theirs = plain(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"].long(),
            labels=batch["labels"],
        ).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_other_checkpoints_are_refused(tmp_path):
    tokenizer = make().tokenizer
    config = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, num_layers=1, num_heads=2)
    save_with_tokenizer(T5ForConditionalGeneration(config), tmp_path / "t5", tokenizer)
    with pytest.raises(UserError, match="give a decoder"):
        make(source=tmp_path / "t5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="checkpoint"):
        make(source=tmp_path / "empty")


def test_the_trial_runs_at_a_small_size(tmp_path, monkeypatch):
    place = "pretrial.methods.code.api_continual.trials.stdlib_code"
    monkeypatch.setattr(place, lambda: [{"code": row["text"]} for row in ROWS * 4])
    made = trial(packages=["networkx", "packaging"], tiny=True)
    assert {arm.name for arm in made.arms if arm.default} == {*STRATEGIES, "before"}
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    made.prepare(0, prepared)
    data = made.data()
    learn, test = APIContinual.read(data.train), APIContinual.read(data.held_out)
    assert not {e.text for e in learn} & {e.text for e in test}
    arm = made.arm("replay")
    method = APIContinual.build(arm.config, source=prepared, data=learn)
    untrained = made.measure(method, data, 0)
    assert sum(untrained["lost_nll"]) == 0
    train(method, Run(tmp_path / "run", learn, test, budget=made.budget, quiet=True))
    values = made.measure(method, data, 0)
    assert values.keys() == untrained.keys()
    assert len(values["final_top1"]) == len(untrained["final_top1"])
    assert len(values["lost_top1"]) == len(values["final_top1"])
    domains = sorted(row["after"] for row in method.history[1:])
    last = [row for row in test if row.domain == "packaging"]
    assert domains == ["networkx", "packaging"]
    num_last = min(arm.config.max_sites, sum(len(e.sites()) for e in last))
    assert values["lost_nll"][-num_last:] == [0.0] * num_last
    assert any(values["lost_nll"])
    assert isinstance(method.network, nn.Module)


@pytest.mark.parametrize("architecture", ["decoder", "encoder"])
def test_special_tokens_written_in_code_are_text(architecture):
    method = make(architecture=architecture)
    specials = [*method.tokenizer.all_special_tokens]
    code = "\n".join(f"end = {token!r}" for token in specials)
    *ids, _ = itertools.chain(*method.windows(APIContinual.read([{"text": code}])))
    assert not set(ids) & set(method.tokenizer.all_special_ids)
    assert method.tokenizer.decode(ids).strip() == code


def test_a_domain_of_empty_texts_is_named(tmp_path):
    data = APIContinual.read([*ROWS, *[{"text": "", "domain": "hollow"}] * 4])
    with pytest.raises(UserError, match="'hollow' has no code to learn from: leave it out"):
        train(make(), run_in(tmp_path, data=data, held_out=()))


def test_the_tiny_trial_leaves_its_budget_to_training():
    """Importances of all sequences would take more than a domain's share of it."""
    small = {arm.config.ewc_examples for arm in trial(tiny=True).arms if "ewc" in arm.name}
    assert small == {8}
