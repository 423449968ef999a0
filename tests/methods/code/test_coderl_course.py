"""CodeRL's own course: what is sampled for, what is replayed, and what weighs how much."""

from __future__ import annotations

import json
from dataclasses import replace
from zlib import crc32

import pytest
import torch

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.errors import UserError
from pretrial.methods.code.coderl import CodeRL, Config
from pretrial.methods.code.coderl.data import samples
from pretrial.methods.code.coderl.data.samples import Sample
from pretrial.methods.code.coderl.stages.drawn import Drawn
from pretrial.methods.code.coderl.stages.experience import Experience
from pretrial.methods.code.coderl.stages.reinforce import Reinforce, Weighted
from pretrial.methods.code.coderl.stages.weights import imitated, replayed, weigh
from pretrial.objectives.reinforce import (
    group_advantages,
    kl_estimate,
    policy_gradient_loss,
    prefix_credit,
)
from pretrial.sandbox import Outcome, Verdict
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

PROBLEMS = mini_apps(num_train=12, num_test=0, solved=8).train
OURS = {"explore": "unsolved", "replay": True, "token_weights": "prefixes", "returns": "absolute"}


def sample(problem: str, ids: list[int], passed: bool, tests: tuple[bool, ...] = ()) -> Sample:
    outcome = Outcome.PASSED_TEST if passed else Outcome.FAILED_TEST
    return Sample(problem, ids, "", Verdict(outcome, tests=tests), baseline=2)


def no_critic(samples):
    raise AssertionError("nothing asks for a critic")


# The arithmetic


def test_group_advantages_are_those_of_grpo_and_rloo():
    returns = [1.0, 0.0, 0.0, 1.0]
    assert group_advantages(returns) == [1.0, -1.0, -1.0, 1.0]
    others = group_advantages(returns, leave_one_out=True)
    assert others == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    assert group_advantages([1.0, 1.0]) == [0.0, 0.0]
    assert group_advantages([0.3], leave_one_out=True) == [0.0]


def test_prefix_credit_falls_where_the_pass_rate_does():
    programs = [[1, 2, 3], [1, 2, 4], [1, 5, 6], [7, 8]]
    found = prefix_credit(programs, [1.0, 0.0, 0.0, 0.0])
    # the pass rate of the prefixes (), 1, 12: 1/4, 1/3, 1/2; of 124, 15 and 7: 0
    assert found[0] == [0.0, 0.0, 0.0]
    assert found[1] == [0.0, 0.0, pytest.approx(-2.0)]
    assert found[2] == [0.0, pytest.approx(-4 / 3), 0.0]
    assert found[3] == [-1.0, 0.0]
    assert prefix_credit(programs, [0.0] * 4) == [[0.0] * len(ids) for ids in programs]


def test_clipping_is_that_of_ppo():
    """At the sampling policy the gradient is REINFORCE's; beyond the bound there is none."""
    sampled, weights = torch.tensor([[-1.0, -2.0]]), torch.tensor([[1.0, -1.0]])
    at = sampled.clone().requires_grad_()
    policy_gradient_loss(at, weights, 1.0, clip=0.2, sampled=sampled).backward()
    assert at.grad.tolist() == [[-1.0, 1.0]]
    beyond = (sampled + torch.tensor([[0.5, -0.5]])).requires_grad_()
    policy_gradient_loss(beyond, weights, 1.0, clip=0.2, sampled=sampled).backward()
    assert beyond.grad.tolist() == [[0.0, 0.0]]


def test_kl_estimate_is_unbiased_and_zero_at_the_reference():
    policy, reference = torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.2, 0.2, 0.6]).log()
    mean = (policy.exp() * kl_estimate(policy, reference)).sum()
    torch.testing.assert_close(mean, (policy.exp() * (policy - reference)).sum())
    assert (kl_estimate(policy, policy) == 0).all()


# What weighs how much


def test_by_prefixes_what_passed_is_imitated_and_the_rest_pushed_down_where_it_went_wrong():
    drawn = [sample("a", [1, 2, 3], True), sample("a", [1, 4, 3], False)]
    drawn += [sample("b", [1, 2, 3], False)]  # nothing of b passes: nothing is known of it
    found = weigh(drawn, replace(Config.tiny(), **OURS), no_critic)
    assert [(s.problem, weights) for s, weights in found] == [
        ("a", [1.0, 1.0, 1.0]),
        ("a", [0.0, -1.0, 0.0]),
    ]


@pytest.mark.parametrize(
    ("returns", "reward", "wanted"),
    [
        ("absolute", "outcome", [1.0, -0.3]),
        ("group", "outcome", [1.0, -1.0]),
        ("leave-one-out", "outcome", [1.3, -1.3]),
        ("leave-one-out", "share", [0.75, -0.75]),
        ("absolute", "share", [1.0, 0.25]),
    ],
)
def test_returns(returns, reward, wanted):
    drawn = [sample("a", [1, 2], True, (True,) * 4)]
    drawn += [sample("a", [1, 4], False, (True, False, False, False))]
    config = replace(Config.tiny(), token_weights="ones", returns=returns, reward=reward)
    found = [weights for _, weights in weigh(drawn, config, no_critic)]
    assert found == [[pytest.approx(value)] * 2 for value in wanted]


def test_replay_takes_each_program_once_and_half_as_many_failures():
    passed = [sample("a", [1, i], True) for i in range(4)]
    failed = [sample("a", [2, i], False) for i in range(9)]
    scored = imitated([*passed, *passed]) + [(s, [-1.0, 0.0]) for s in failed]
    found = replayed(scored, torch.Generator().manual_seed(0))
    assert sum(weights[0] > 0 for _, weights in found) == 4
    assert sum(weights[0] < 0 for _, weights in found) == 2


def test_a_share_of_the_tests_has_no_greedy_baseline(tmp_path):
    with pytest.raises(UserError, match="--returns group"):
        experience(tmp_path, reward="share")


# What is sampled for


def experience(tmp_path, **changes) -> Experience:
    method = CodeRL.build(replace(Config.tiny(), **changes), data=PROBLEMS)
    return Experience(method, Run(tmp_path / "run", data=PROBLEMS, quiet=True))


def test_only_problems_that_nothing_solves_are_sampled_for(tmp_path):
    found = experience(tmp_path, **OURS)
    unsolved = {p.id for p in PROBLEMS if not p.solutions}
    assert {p.id for p in found.candidates(())} == unsolved
    one, *others = sorted(unsolved)
    assert {p.id for p in found.candidates([sample(one, [1], True)])} == set(others)
    everything = [sample(name, [1], True) for name in unsolved]
    assert len(found.candidates(everything)) == len(PROBLEMS)  # nothing is left: all again


def test_a_round_shares_its_programs_out(tmp_path):
    found = experience(tmp_path, round_programs=40, **OURS)
    assert [found._num_samples(n) for n in (4, 10, 100)] == [10, 4, 2]
    assert found._num_samples(1) == 40
    assert found._at_most(0, 100) == 20  # two each


def test_a_balanced_critic_sees_as_many_failures_as_passes(tmp_path):
    drawn = [sample(PROBLEMS[0].id, [5, i], i < 3) for i in range(20)]
    found = experience(tmp_path, checker_balanced=True)
    labels = [judged.label for judged in found.judged(drawn, binary=True)]
    passed = min(17, 3 + len(found.pairs))
    assert (labels.count(0), labels.count(1)) == (passed, passed)
    assert len(found.judged(drawn, binary=False)) == 20 + len(found.pairs)


def test_a_sampling_that_time_does_not_allow_is_left_out(tmp_path):
    found = experience(tmp_path)
    assert found.affords(3)  # a budget in steps, or none, allows all
    found.run.limit = Budget(100, "seconds")
    found.run.book("sample", seconds=40.0)
    found.run.book("execute", seconds=20.0)
    assert found.affords(0)
    assert not found.affords(2)  # two samplings took 60 s; of the 40 left too few would be trained
    assert found.affords(4)
    assert Drawn(found, [], [sample("a", [1], True)], 4, 8)._samples(2, book=True)[0].ids == [1]


def run_of(folder, stop_at: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    config = replace(
        Config.tiny(),
        **OURS,
        warmup_epochs=4,
        round_programs=16,
        resample_every=2,
        resample_problems=0,
        rl_steps=4,
        checker_epochs=0,
        repair_epochs=0,
        clip=0.2,
        kl_weight=0.1,
    )
    method = CodeRL.build(config, data=PROBLEMS)
    run = Run(folder, PROBLEMS, quiet=True, log_every=1)
    if stop_at:
        real = Reinforce.losses

        def losses(self, batch):
            stop_at_step.append(1)
            if len(stop_at_step) == stop_at:
                raise KeyboardInterrupt
            return real(self, batch)

        stop_at_step: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Reinforce, "losses", losses)
            with pytest.raises(KeyboardInterrupt):
                train(method, run)
        run.close()
        return run_of(folder)
    train(method, run)
    run.close()
    return {name: value.clone() for name, value in method.network.state_dict().items()}


def by_chance(problems, groups, runner, limits, *, visible):
    """Verdicts without a run: a tiny model writes nothing that passes."""
    outcomes = Outcome.PASSED_TEST, Outcome.FAILED_TEST, Outcome.RUNTIME_ERROR
    return [[Verdict(outcomes[crc32(text.encode()) % 3]) for text in group] for group in groups]


def test_a_run_that_was_stopped_learns_what_one_learns_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "judge", by_chance)
    whole, stopped = run_of(tmp_path / "whole"), run_of(tmp_path / "stopped", stop_at=4)
    assert all(torch.equal(stopped[name], value) for name, value in whole.items())
    rows = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").open()]
    rounds = [row for row in rows if "programs" in row]
    assert len(rounds) == 2
    assert all(row["with_tests_only"] == 4 for row in rounds)
    again = [json.loads(line) for line in (tmp_path / "stopped/metrics.jsonl").open()]
    assert [row["programs"] for row in again if "programs" in row] == [
        row["programs"] for row in rounds
    ]
    assert any("kl" in row for row in rows)


def test_no_passing_program_is_told_with_what_to_do(tmp_path, capsys):
    method = CodeRL.build(replace(Config.tiny(), **OURS, warmup_epochs=0), data=PROBLEMS)
    train(method, Run(tmp_path / "run", PROBLEMS))
    said = " ".join(capsys.readouterr().out.split())
    assert "no program of this sampling passes its tests" in said
    assert "--warmup-epochs" in said
    assert "nothing to reinforce" in said


def test_the_frozen_start_is_not_trained(tmp_path):
    actor = experience(tmp_path).method.actor
    module = Reinforce(actor, [], replace(actor.config, kl_weight=1.0))
    assert not any(p.requires_grad for p in module.start.parameters())
    batch = module.batch([Weighted([5, 6], [7, 8], [1.0, 1.0])], torch.Generator())
    found = module.losses(batch)
    assert float(found["kl"].detach()) == pytest.approx(0.0, abs=1e-6)
