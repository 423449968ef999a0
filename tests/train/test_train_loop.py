"""The loop: what a step is, budgets, evaluation, early stopping, and what stops it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from train_toy import Regression, Toy, make_data, rows_of, same_weights

from pretrial.errors import UserError
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.stage import EarlyStop, Optim, Stage


def trained(folder, method, num_examples=40, **run) -> Run:
    options = {"budget": Budget(6), "quiet": True, "log_every": 1} | run
    run = Run(folder, make_data(num_examples), **options)
    train(method, run)
    return run


def close(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)


def test_a_step_is_that_of_a_plain_loop(tmp_path):
    optim = Optim(lr=1e-2, weight_decay=0.1, schedule="linear", warmup=2, clip_norm=0.5)
    method = Toy(optim=optim, shuffle=False)
    trained(tmp_path, method)

    plain = Toy()
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)
    data = make_data()
    for step in range(6):
        # peak at step 1 (fraction 1/6), then down to 0 at fraction 1
        rate = 0.5 if step == 0 else (6 - step) / 5
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * rate
        indices = [(8 * step + index) % 40 for index in range(8)]
        batch = plain.batch([data[index] for index in indices], torch.Generator())
        plain.losses(batch)["loss"].backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    assert close(method, plain)


def test_accumulation_is_the_whole_batch(tmp_path):
    whole = Toy(batch_size=8)
    parts = Toy(batch_size=8, micro_batch_size=2)
    trained(tmp_path / "whole", whole)
    trained(tmp_path / "parts", parts)
    assert close(whole, parts)
    for one, other in zip(rows_of(tmp_path / "whole"), rows_of(tmp_path / "parts"), strict=True):
        assert one.keys() == other.keys()
        for name in ("loss", "mse_loss", "big_loss", "grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-4)


def test_every_example_once_an_epoch(tmp_path):
    seen = []

    class Notes(Toy):
        def batch(self, examples, generator):
            seen.extend(examples)
            return super().batch(examples, generator)

    data = make_data(20)
    train(Notes(), Run(tmp_path / "a", data, budget=Budget(5), quiet=True))  # two epochs of 2.5
    first, second = seen[:20], seen[20:]
    assert sorted(first) == sorted(second) == sorted(data)
    assert first != second
    once = list(seen)
    seen.clear()
    train(Notes(seed=7), Run(tmp_path / "b", data, budget=Budget(5), quiet=True))
    assert seen == once
    seen.clear()
    train(Notes(), Run(tmp_path / "c", data, budget=Budget(5), seed=1, quiet=True))
    assert seen != once


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (Budget(5, "steps"), 5),
        (Budget(36, "examples"), 5),  # 8 a step
        (Budget(64, "tokens"), 2),  # 32 a step
    ],
)
def test_budget(tmp_path, budget, steps):
    run = trained(tmp_path, Toy(), budget=budget)
    assert run.spent.total("steps") == steps
    assert run.spent.total("examples") == 8 * steps
    assert run.spent.total("tokens") == 32 * steps
    assert run.spent.total("flops") == 0


def test_flops_budget(tmp_path):
    # two products of 8 rows: forward, gradient of the weights, and in the head that of its input
    first, head = 2 * 8 * 4 * 8, 2 * 8 * 8 * 1
    step = 2 * first + 3 * head
    run = trained(tmp_path, Toy(), budget=Budget(3.5 * step, "flops"))
    assert run.spent.total("flops") == 4 * step
    assert run.spent.total("steps") == 4


def test_schedule_follows_the_fraction_of_the_budget(tmp_path):
    rates = {}
    for name, budget in {"steps": Budget(10), "tokens": Budget(320, "tokens")}.items():
        trained(tmp_path / name, Toy(optim=Optim(lr=1.0, warmup=0.3, clip_norm=0)), budget=budget)
        rates[name] = [row["lr"] for row in rows_of(tmp_path / name)]
    down = [rate / 8 for rate in (8, 7, 6, 5, 4, 3, 2, 1)]
    assert rates["steps"] == pytest.approx([1 / 3, 2 / 3, *down])
    # where the length of a step is not known beforehand, the warm-up begins at 0
    down = [rate / 7 for rate in (7, 6, 5, 4, 3, 2, 1)]
    assert rates["tokens"] == pytest.approx([0, 1 / 3, 2 / 3, *down])


def test_ema_replaces_the_weights(tmp_path):
    seen = []
    method = Toy(optim=Optim(lr=0.1), ema=0.5, evaluate=lambda: seen.append(1) or {"x": 1.0})
    average = [parameter.detach().clone() for parameter in method.parameters()]
    plain = Toy(optim=Optim(lr=0.1), evaluate_every=1)

    def follow():
        for mean, weight in zip(average, plain.parameters(), strict=True):
            mean.mul_(0.5).add_(weight.detach(), alpha=0.5)
        return {"x": 1.0}

    plain.stage["evaluate"] = follow
    trained(tmp_path / "plain", plain)
    trained(tmp_path / "ema", method)
    assert not close(method, plain)
    for mean, weight in zip(average, method.parameters(), strict=True):
        assert torch.allclose(mean, weight, atol=1e-6)


def test_after_step_comes_between_the_update_and_the_clearing(tmp_path):
    class Follower(Toy):
        def __init__(self):
            super().__init__(optim=Optim(lr=0.1, kind="sgd", betas=(0.0, 0.0), weight_decay=0.0))
            self.register_buffer("path", torch.zeros(()))
            self.before = [parameter.detach().clone() for parameter in self.parameters()]

        def after_step(self):
            for parameter, before in zip(self.parameters(), self.before, strict=True):
                self.path += (parameter.grad * (parameter.detach() - before)).sum()
                before.copy_(parameter.detach())

    method = Follower()
    trained(tmp_path, method)
    assert method.path < 0  # every step of plain SGD goes down along its gradient
    done = load_file(tmp_path / "stages/train/done/weights.safetensors")
    assert torch.equal(done["path"], method.path)


def test_a_loss_that_compares_examples_takes_no_micro_batches(tmp_path):
    class Pairs(Toy):
        compares_examples = True

        def stages(self, run):
            yield Stage("train", self, run.data, Budget(2), batch_size=8, micro_batch_size=4)

    with pytest.raises(UserError, match=r"compares the examples.*micro_batch_size must stay 8"):
        trained(tmp_path, Pairs())


def test_early_stop_restores_the_best(tmp_path):
    values = iter([3.0, 2.0, 1.0, 2.0, 2.0, 0.0, 0.0])
    states = []
    method = Toy(evaluate_every=1, early_stop=EarlyStop("loss", patience=2))

    def evaluate():
        assert not method.training
        states.append({name: value.clone() for name, value in method.state_dict().items()})
        return {"loss": next(values)}

    method.stage["evaluate"] = evaluate
    run = trained(tmp_path, method, budget=Budget(20))
    assert run.spent.total("steps") == 5
    assert all(torch.equal(states[2][name], value) for name, value in method.state_dict().items())
    assert not torch.equal(states[4]["head.weight"], method.head.weight)
    assert [row["eval/loss"] for row in rows_of(tmp_path) if "eval/loss" in row] == [3, 2, 1, 2, 2]


@pytest.mark.parametrize("bad", [0.4, math.nan])
def test_early_stop_floor(tmp_path, bad):
    values = iter([0.6, bad, 0.9])
    stop = EarlyStop("score", patience=9, better="higher", floor=0.5)
    method = Toy(evaluate=lambda: {"score": next(values)}, evaluate_every=1, early_stop=stop)
    assert trained(tmp_path, method).spent.total("steps") == 2


def test_early_stop_gives_back_the_start_where_all_is_below_the_floor(tmp_path):
    stop = EarlyStop("score", better="higher", floor=0.5)
    method, start = Toy(evaluate=lambda: {"score": 0.4}, evaluate_every=1, early_stop=stop), Toy()
    assert trained(tmp_path, method).spent.total("steps") == 1
    assert same_weights(method, start)


def test_two_optimisers_train_their_own_parameters(tmp_path):
    frozen_body = (Optim(lr=0.0, weight_decay=0.0, match="body"), Optim(lr=0.1, match="head"))
    method, start = Toy(optim=frozen_body), Toy()
    trained(tmp_path, method)
    assert same_weights(method.body, start.body)
    assert not torch.equal(method.head.weight, start.head.weight)
    assert {"lr_0", "lr_1", "grad_norm_0", "grad_norm_1"} <= rows_of(tmp_path)[0].keys()


def test_frozen_modules_stay_as_they_are(tmp_path):
    class WithTeacher(Toy):
        def __init__(self):
            super().__init__()
            self.frozen["teacher"] = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.9))

        def losses(self, batch):
            assert not self.frozen["teacher"].training
            target = self.frozen["teacher"](batch["x"])
            assert not target.requires_grad
            losses = super().losses(batch)
            return {**losses, "loss": losses["loss"] + 0 * target.sum()}

    method, start = WithTeacher(), WithTeacher()
    start.load_state_dict(method.state_dict())
    run = trained(tmp_path, method, measure_flops=True)
    assert same_weights(method.frozen, start.frozen)
    names = load_file(tmp_path / "stages/train/done/weights.safetensors").keys()
    assert names == {"body.0.weight", "body.0.bias", "head.weight", "head.bias", "num_seen"}
    plain = trained(tmp_path / "plain", Toy(), measure_flops=True)
    teacher = 6 * 2 * 8 * 4  # its forward counts too
    assert run.spent.total("flops") == plain.spent.total("flops") + teacher


class Faulty(Toy):
    """Goes wrong in one place."""

    def __init__(self, fault: str, **stage):
        super().__init__(**stage)
        self.fault = fault
        self.calls = 0
        if fault == "unused":
            self.spare = nn.Linear(1, 1)

    def batch(self, examples, generator):
        batch = super().batch(examples, generator)
        if self.fault == "counts":
            del batch["counts"]["examples"]
        return batch

    def losses(self, batch):
        losses = super().losses(batch)
        self.calls += 1
        if self.fault == "name":
            losses["total"] = losses.pop("loss")
        if self.fault == "nan" and self.calls == 4:
            losses["loss"] = losses["loss"] * math.nan
        if self.fault == "gradient" and self.calls == 4:
            losses["loss"] = losses["loss"] + (0 * self.head.bias).sqrt().sum()
        return losses


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unused", r"2 trainable.*spare\.weight, spare\.bias.*requires_grad"),
        ("counts", r'"examples": float\(len\(examples\)\)'),
        ("name", 'must return a "loss"'),
    ],
)
def test_faulty_method(tmp_path, fault, message):
    with pytest.raises(UserError, match=message):
        trained(tmp_path, Faulty(fault))


@pytest.mark.parametrize("fault", ["nan", "gradient"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("save_every", [1, 2, 3])
def test_nan_never_reaches_a_checkpoint(tmp_path, fault, clip_norm, save_every):
    method = Faulty(fault, optim=Optim(clip_norm=clip_norm))
    # without a gradient norm to look at, a bad gradient shows in the weights or in the next loss
    step = "[34]" if fault == "gradient" and not clip_norm else "3"
    message = rf"'train', step {step}: .*learning rate.*examples number \d+"
    with pytest.raises(UserError, match=message) as error:
        trained(tmp_path, method, save_every=Budget(save_every), log_every=100)
    assert "checkpoint is kept" in str(error.value)
    last = sorted(tmp_path.glob("stages/train/step-*"))[-1]
    assert last.name == f"step-{3 // save_every * save_every:010d}"
    assert all(torch.isfinite(w).all() for w in load_file(last / "weights.safetensors").values())


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"data": []}, "its data is empty: give rows"),
        ({"batch_size": 41}, "has 40 examples, fewer than batch_size 41.*at most 40"),
        ({"micro_batch_size": 3}, "batch_size 8 must be a multiple of micro_batch_size 3"),
        ({"optim": (Optim(match="head"),)}, r"'body\.0\.weight' is matched by no optimiser"),
        ({"optim": (Optim(), Optim(match="head"))}, r"'head\.weight' is matched by 2 optimisers"),
        ({"optim": (Optim(), Optim(match="tail"))}, "match='tail' takes no trainable parameter"),
        ({"name": "a/b"}, "names a folder"),
        (
            {"evaluate": lambda: {"loss": 1.0}, "early_stop": EarlyStop("los")},
            "'los', which the evaluation does not give: change it to one of loss",
        ),
    ],
)
def test_stage_that_cannot_be(tmp_path, stage, message):
    class Wrong(Toy):
        def stages(self, run):
            options = {"name": "train", "budget": Budget(2), "batch_size": 8, "data": run.data}
            yield Stage(module=self, **options | stage)

    with pytest.raises(UserError, match=message):
        trained(tmp_path, Wrong())


def test_stage_names_are_unique(tmp_path):
    class Twice(Toy):
        def stages(self, run):
            yield Stage("one", self, run.data, Budget(1), batch_size=8)
            yield Stage("one", self, run.data, Budget(1), batch_size=8)

    with pytest.raises(UserError, match="two stages are called 'one'"):
        trained(tmp_path, Twice())


def test_no_budget_and_nothing_to_train(tmp_path):
    with pytest.raises(UserError, match="no budget"):
        train(Toy(), Run(tmp_path / "a", make_data(), quiet=True))
    with pytest.raises(UserError, match="no parameter requires a gradient"):
        trained(tmp_path / "b", Toy().requires_grad_(False))


def test_options_that_do_not_change_what_is_learnt(tmp_path):
    plain, bf16 = Toy(), Toy()
    trained(tmp_path / "plain", plain)
    train(bf16, Run(tmp_path / "bf16", make_data(), budget=Budget(6), quiet=True), autocast="bf16")
    assert all(parameter.dtype == torch.float32 for parameter in bf16.parameters())
    assert not same_weights(plain, bf16)
    assert torch.allclose(plain.head.weight, bf16.head.weight, atol=1e-2)
    with pytest.raises(UserError, match="'bf16' or None"):
        train(Toy(), Run(tmp_path / "fp8", make_data(), budget=Budget(6)), autocast="fp8")


def test_compiled_losses(tmp_path, monkeypatch):
    calls = []

    def compiler(graph, inputs):
        calls.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    plain, compiled = Toy(), Toy()
    expected = trained(tmp_path / "plain", plain, measure_flops=True)
    options = {"budget": Budget(6), "quiet": True, "measure_flops": True}
    run = Run(tmp_path / "compiled", make_data(), **options)
    train(compiled, run, compile=True)
    assert 1 <= len(calls) <= 3
    assert close(plain, compiled)
    assert run.spent.total("flops") == expected.spent.total("flops")


def test_stage_may_train_a_part(tmp_path):
    class WithCritic(Toy):
        def __init__(self):
            super().__init__()
            self.critic = Regression(seed=3)

        def stages(self, run):
            yield Stage("critic", self.critic, run.data, Budget(3), batch_size=8, purpose="critic")

    method, start = WithCritic(), WithCritic()
    run = trained(tmp_path, method)
    assert same_weights(method.body, start.body)
    assert not same_weights(method.critic.body, start.critic.body)
    assert run.spent.by_purpose["critic"]["steps"] == 3
    assert {row["stage"] for row in rows_of(tmp_path)} == {"critic"}
