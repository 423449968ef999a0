"""CodeRL's defining tests of what it learns from: returns, the policy gradient, the critics."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.prompt import prompt, reindent_with_tabs
from pretrial.methods.code.coderl.network import parts
from pretrial.methods.code.coderl.network.critic import Critic, Judged
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.methods.code.coderl.stages.reinforce import Reinforce, Weighted
from pretrial.models.architectures.seq2seq import shifted
from pretrial.objectives.reinforce import RETURNS, advantage, policy_gradient_loss
from pretrial.sandbox import Limits, run_programs
from pretrial.sandbox.tests import Tests

PROBLEMS = mini_apps(num_train=6, num_test=0).train
GENERATOR = torch.Generator()


def tiny(architecture: str = "t5", **changes: object) -> ProgramModel:
    torch.manual_seed(0)
    config = replace(Config.tiny(), architecture=architecture, **changes)
    return CodeRL.build(config, data=PROBLEMS).actor


def reinforce_of(model, pairs, **changes) -> Reinforce:
    return Reinforce(model, pairs, replace(model.config, **changes))


def pairs(model: ProgramModel) -> list[tuple[list[int], list[int]]]:
    return [
        (model.prompt_ids(prompt(p)), model.program_ids(p.solutions[i % len(p.solutions)]))
        for i, p in enumerate(PROBLEMS)
    ]


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("architecture", ["t5", "gpt2"])
def test_unit_weights_give_the_gradient_of_cross_entropy(architecture):
    model = tiny(architecture)
    rows = pairs(model)[:3]
    model.losses(model.batch(rows, GENERATOR))["loss"].backward()
    wanted = gradients(model)
    model.zero_grad()
    reinforce = reinforce_of(model, [], ce_weight=0.0)
    weighted = [Weighted(s, t, [1.0] * len(t)) for s, t in rows]
    reinforce.losses(reinforce.batch(weighted, GENERATOR))["loss"].backward()
    found = gradients(model)
    assert wanted.keys() == found.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-6, rtol=0)


def test_equal_outcomes_give_exactly_zero_and_swapped_ones_the_opposite():
    model = tiny()
    (source, target), *_ = pairs(model)

    def gradient(outcome: int, baseline: int) -> dict[str, torch.Tensor]:
        model.zero_grad()
        gain = advantage(outcome, baseline)
        module = reinforce_of(model, [], ce_weight=0.0)
        batch = module.batch([Weighted(source, target, [gain] * len(target))], GENERATOR)
        module.losses(batch)["loss"].backward()
        return gradients(model)

    assert all((g == 0).all() for g in gradient(2, 2).values())
    up, down = gradient(3, 1), gradient(1, 3)
    assert any((g != 0).any() for g in up.values())
    for name in up:
        torch.testing.assert_close(up[name], -down[name], atol=1e-7, rtol=1e-5)


def test_returns_are_those_of_the_paper():
    assert RETURNS == (-1.0, -0.6, -0.3, 1.0)
    assert advantage(3, 0) == 2.0
    assert advantage(1) == -0.6


def _toy_gradient(logits, program, gain):
    """Gradient of -gain * log p(program) for a table of logits [2 positions, 3 words]."""
    logits = logits.detach().requires_grad_()
    log_probs = logits.log_softmax(-1)[torch.arange(2), torch.tensor(program)].unsqueeze(0)
    policy_gradient_loss(log_probs, torch.full((1, 2), gain), 1.0).backward()
    return -logits.grad


@pytest.mark.parametrize("baseline", [None, 2])
def test_policy_gradient_is_unbiased_on_an_enumerated_policy(baseline):
    torch.manual_seed(1)
    logits = torch.randn(2, 3)
    programs = list(itertools.product(range(3), repeat=2))
    outcomes = [sum(p) % 4 for p in programs]
    table = logits.clone().requires_grad_()
    probs = table.softmax(-1)
    expected = sum(
        probs[0, a] * probs[1, b] * RETURNS[o] for (a, b), o in zip(programs, outcomes, strict=True)
    )
    expected.backward()
    chances = (probs[0].detach().outer(probs[1].detach())).flatten().tolist()
    mean = sum(
        chance * _toy_gradient(logits, p, advantage(o, baseline))
        for chance, p, o in zip(chances, programs, outcomes, strict=True)
    )
    torch.testing.assert_close(mean, table.grad, atol=1e-6, rtol=1e-5)


def test_greedy_baseline_lowers_the_variance_and_token_weights_bias_it():
    logits = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])  # the greedy program is (0, 0)
    probs = logits.softmax(-1)
    programs = list(itertools.product(range(3), repeat=2))
    outcomes = [(1 + sum(p)) % 3 for p in programs]  # nothing passes; the greedy one is average
    chances = [float(probs[0, a] * probs[1, b]) for a, b in programs]

    def moments(baseline):
        grads = torch.stack(
            [
                _toy_gradient(logits, p, advantage(o, baseline))
                for p, o in zip(programs, outcomes, strict=True)
            ]
        )
        weights = torch.tensor(chances).view(-1, 1, 1)
        mean = (weights * grads).sum(0)
        return mean, (weights * (grads - mean) ** 2).sum()

    plain_mean, plain_variance = moments(None)
    mean, variance = moments(1)
    torch.testing.assert_close(mean, plain_mean, atol=1e-6, rtol=1e-5)
    assert variance < plain_variance


def test_token_weights_make_the_estimate_biased():
    """q(w_t) depends on the program, so the mean is not the gradient of the expected return."""
    torch.manual_seed(3)
    logits = torch.randn(2, 3)
    programs = list(itertools.product(range(3), repeat=2))
    outcomes = [sum(p) % 4 for p in programs]
    table = logits.clone().requires_grad_()
    chances = [table.softmax(-1)[0, a] * table.softmax(-1)[1, b] for a, b in programs]
    sum(c * RETURNS[o] for c, o in zip(chances, outcomes, strict=True)).backward()
    mean = torch.zeros(2, 3)
    for chance, program, outcome in zip(chances, programs, outcomes, strict=True):
        q = torch.tensor([[0.2 + 0.2 * outcome, 0.9]])
        point = logits.clone().requires_grad_()
        log_probs = point.log_softmax(-1)[torch.arange(2), torch.tensor(program)].unsqueeze(0)
        policy_gradient_loss(log_probs, RETURNS[outcome] * q, 1.0).backward()
        mean -= chance.detach() * point.grad
    assert (mean - table.grad).abs().max() > 0.01


CALL = Tests("call", "f", ([1, 2],), (3,))
STDIN = Tests("stdin", inputs=("1 2",), outputs=("3",))
HAND_WRITTEN = [
    ("def f(a, b):\n    return a + b", CALL, 3),
    ("def f(a, b):\n    return a - b", CALL, 2),
    ("def f(a, b):\n    return str(a + b)", CALL, 2),
    ("def f(a, b):\n    return a +", CALL, 0),
    ("def f(a, b):\nreturn a", CALL, 0),
    ("def g(a, b):\n    return a + b", CALL, 1),
    ("def f(a, b):\n    return a / 0", CALL, 1),
    ("def f(a, b):\n    while True: pass", CALL, 1),
    ("import sys\nsys.exit(0)", CALL, 1),
    ("a, b = map(int, input().split())\nprint(a + b)", STDIN, 3),
    ("print(4)", STDIN, 2),
    ("pass", STDIN, 2),
    ("print(3", STDIN, 0),
    ("print(undefined)", STDIN, 1),
    ("while True: pass", STDIN, 1),
    ("def f(a, b):\n    return a + b", Tests("call", "f"), -1),
]


def test_outcome_and_return_of_hand_written_programs():
    verdicts = run_programs([(p, t) for p, t, _ in HAND_WRITTEN], limits=Limits(seconds=1.0))
    assert [int(v.outcome) for v in verdicts] == [outcome for *_, outcome in HAND_WRITTEN]
    returns = [advantage(int(v.outcome)) for v in verdicts if v.outcome >= 0]
    assert returns == [RETURNS[outcome] for *_, outcome in HAND_WRITTEN[:-1]]
    assert set(returns) == {-1.0, -0.6, -0.3, 1.0}


def test_negative_floor_spares_tokens_that_are_unlikely_already():
    log_probs = torch.tensor([[-9.0, -1.0]], requires_grad=True)
    policy_gradient_loss(
        log_probs, torch.tensor([[-1.0, -1.0]]), 1.0, negative_floor=-5.0
    ).backward()
    assert log_probs.grad.tolist() == [[0.0, 1.0]]


def _critic(architecture: str = "t5", **options) -> Critic:
    return parts.new_critic(Config.tiny(), tiny(architecture, **options), 4, seed=0)


@pytest.mark.parametrize("architecture", ["t5", "gpt2"])
def test_scores_up_to_a_token_do_not_see_it(architecture):
    critic = _critic(architecture)
    source, target = pairs(critic.program_model)[0]
    at = len(target) // 2
    edited = [*target[:at], (target[at] + 1) % 300 + 5, *target[at + 1 :]]
    before, after = critic.token_scores([Judged(source, target, 2), Judged(source, edited, 2)])
    assert len(before) == len(target)
    torch.testing.assert_close(before[: at + 1], after[: at + 1], atol=1e-6, rtol=0)
    assert (before[at + 1 :] - after[at + 1 :]).abs().max() > 1e-6


def test_critic_gets_no_gradient_from_the_last_phase_and_learns_classes():
    critic = _critic()
    rows = [Judged(s, t, i % 4) for i, (s, t) in enumerate(pairs(critic.program_model))]
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    batch = critic.batch(rows, GENERATOR)
    first = critic.losses(batch)["loss"].item()
    for _ in range(30):
        optimiser.zero_grad()
        critic.losses(batch)["loss"].backward()
        optimiser.step()
    assert critic.losses(batch)["loss"].item() < 0.5 * first
    critic.zero_grad()
    actor = tiny()
    scores = critic.token_scores(rows[:2])
    assert not scores[0].requires_grad
    module = reinforce_of(actor, pairs(actor))
    weighted = [
        Weighted(j.source, j.target, q.tolist()) for j, q in zip(rows, scores, strict=False)
    ]
    module.losses(module.batch(weighted, GENERATOR))["loss"].backward()
    assert all(p.grad is None for p in critic.parameters())


def test_released_layout_parity(tmp_path):
    """Keys, rewards, critic loss and RL loss, against a reference of the release's form."""
    config = replace(Config.tiny(), release_pooling=True)
    critic = parts.new_critic(config, tiny(release_pooling=True), 4, seed=0)
    critic.save(tmp_path / "critic")
    weights = load_file(tmp_path / "critic" / "model.safetensors")
    assert {f"error_head.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")} <= set(weights)
    assert weights["error_head.0.weight"].shape == (128, config.width)
    again = parts.load_critic(tmp_path / "critic", critic.program_model, 4)
    released = replace(config, critic_init=str(tmp_path / "critic"))
    begun = parts.new_critic(released, tiny(), 4, seed=1)
    assert torch.equal(begun.error_head[2].weight, critic.error_head[2].weight)
    assert parts.new_critic(released, tiny(), 2, seed=1).error_head[2].out_features == 2
    source, target = pairs(critic.program_model)[0]
    rows = [Judged(source, target, 2), Judged(source, [*target, *target], 1)]
    model = critic.program_model.network.eval()
    batch = critic.batch(rows, GENERATOR)
    decoder = shifted(model, batch["labels"])
    out = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=decoder,
        output_hidden_states=True,
    )
    states = out.decoder_hidden_states[-1] * config.width**-0.5
    head = critic.error_head
    logits = torch.relu(states @ head[0].weight.T + head[0].bias) @ head[2].weight.T + head[2].bias
    again.eval()
    torch.testing.assert_close(again.position_logits(batch), logits, atol=1e-4, rtol=0)
    loss = torch.nn.functional.cross_entropy(logits.max(dim=1).values, batch["classes"])
    torch.testing.assert_close(again.losses(batch)["loss"], loss, atol=1e-4, rtol=0)
    q = again.token_scores(rows)[0]
    reward = logits[0].softmax(-1)[: len(target), 2] * (RETURNS[2] - RETURNS[0])
    torch.testing.assert_close(q * advantage(2, 0), reward.detach(), atol=1e-6, rtol=0)
    # the release's reduction: the mean over valid tokens of log p times reward
    module = reinforce_of(critic.program_model, [], ce_weight=0.0)
    batch = module.batch([Weighted(source, target, reward.tolist())], GENERATOR)
    log_probs = out.logits[0, : len(target)].log_softmax(-1)[torch.arange(len(target)), target]
    torch.testing.assert_close(
        module.losses(batch)["rl_loss"], -(log_probs * reward).mean(), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("num_parts", [1, 3])
def test_every_part_of_a_step_holds_both_halves(num_parts):
    """Accumulation with an odd factor changes nothing: each micro-batch has its references."""
    model = tiny()
    weighted = [Weighted(s, t, [0.5] * len(t)) for s, t in pairs(model)]
    module = reinforce_of(model, pairs(model)[:1])
    size = len(weighted) // num_parts
    batches = [
        module.batch(weighted[i : i + size], GENERATOR) for i in range(0, len(weighted), size)
    ]
    assert all(b["counts"]["ce_tokens"] == size * len(pairs(model)[0][1]) for b in batches)
    total = {k: sum(b["counts"][k] for b in batches) for k in batches[0]["counts"]}
    for batch in batches:
        batch["counts"] = total
    loss = sum(module.losses(batch)["loss"] for batch in batches)
    whole = module.batch(weighted, GENERATOR)
    torch.testing.assert_close(loss, module.losses(whole)["loss"], atol=1e-5, rtol=0)


def test_prompt_layouts_and_the_cut_of_the_middle():
    problem = PROBLEMS[0]
    ours = prompt(problem)
    assert ours.startswith("QUESTION:\n")
    assert ours.endswith("Use Call-Based format\nANSWER:\n")
    question = problem.question
    assert prompt(problem, "release-generate") == (
        f"\nQUESTION:\n{question}\n{problem.starter_code}\nUse Call-Based format\nANSWER:\n"
        if problem.starter_code
        else f"\nQUESTION:\n{question}\nUse Call-Based format\nANSWER:\n"
    )
    assert prompt(problem, "release-train").endswith("format\n\nANSWER:\n")
    model = tiny()
    ids = model.prompt_ids("x" * 10 + ours * 40)
    assert len(ids) == model.config.max_source
    assert model.text(ids).endswith("ANSWER:\n")


def test_reindent_with_tabs():
    assert reindent_with_tabs("def f():\n    if x:\n        y\n") == "def f():\n\tif x:\n\t\ty\n"
