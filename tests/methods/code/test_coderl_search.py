"""CodeRL's defining tests of critic sampling: seeds, counts, refine or repair, what is run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.errors import UserError
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.abilities.choosing import ByLikelihood, least_sure, refine_seed
from pretrial.methods.code.coderl.abilities.critic_quality import critic_quality
from pretrial.methods.code.coderl.abilities.search import CriticSampler, Search, allocate
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.prompt import prompt, repair_prompt
from pretrial.methods.code.coderl.data.samples import Sample
from pretrial.methods.code.coderl.network import parts
from pretrial.sandbox import Outcome, Verdict

PROBLEMS = mini_apps(num_train=3, num_test=0).train


class SpyRunner:
    """Judges by a rule and remembers which tests it was asked to run."""

    def __init__(self, passes) -> None:
        self.passes = passes
        self.asked = []

    def run(self, jobs, limits):
        self.asked += [tests for _, tests in jobs]
        return [self._verdict(self.passes(i, program)) for i, (program, _) in enumerate(jobs)]

    @staticmethod
    def _verdict(passed: bool) -> Verdict:
        outcome = Outcome.PASSED_TEST if passed else Outcome.FAILED_TEST
        return Verdict(outcome, "", "wrong answer", 3, (passed,), 0.0, 0.0, "spy")


def sampler(passes) -> CriticSampler:
    torch.manual_seed(0)
    actor = CodeRL.build(Config.tiny(), data=PROBLEMS).actor
    checker = parts.new_critic(Config.tiny(), actor, 2, seed=1)
    return CriticSampler(actor, checker, actor.copy(), SpyRunner(passes))  # type: ignore[arg-type]


def test_seed_is_the_prefix_an_oracle_critic_trusts():
    scores = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    assert refine_seed(scores, length=6) == 3
    assert refine_seed(torch.ones(7), length=6) == 6  # never doubtful: the whole program
    assert refine_seed(torch.tensor([0.1, 0.4, 0.2]), length=2) == 1  # doubted from the first on
    # the highest score, but only before the first doubt
    assert refine_seed(torch.tensor([0.6, 0.8, 0.7, 0.4, 0.99]), length=4) == 1


def test_by_likelihood_it_goes_on_before_the_least_sure_token():
    log_probs = torch.tensor([-0.1, -2.0, -0.5, -2.0, -9.0])
    assert least_sure(log_probs, length=4) == 4  # whether to end is what it is least sure of
    assert least_sure(log_probs, length=3) == 1  # the first of equals; what follows does not count
    critic_sampling = sampler(lambda i, _: True)
    actor = critic_sampling.actor
    source, programs = actor.problem_ids(PROBLEMS[0]), [[7, 8, 9, actor.end], [9, actor.end]]
    chooser = ByLikelihood(actor)
    wanted = [float(p.mean()) for p in actor.token_log_probs([(source, ids) for ids in programs])]
    assert chooser.scores(source, programs) == wanted
    assert [seed.score for seed in chooser.seeds(source, programs, [3, 1])] == wanted


def test_what_a_search_lacks_is_told_or_done_without():
    critic_sampling = sampler(lambda i, _: False)  # nothing passes
    bare = CriticSampler(critic_sampling.actor, None, None, critic_sampling.runner)
    search = Search(num_samples=3, temperature=1.0)
    found = bare.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    assert {c.kind for group in found for c in group} == {"plain"}
    with pytest.raises(UserError, match="use `--choose likelihood`"):
        bare.solve(PROBLEMS, replace(search, choose="critic"), torch.Generator())


@pytest.mark.parametrize("num_seeds", [1, 3, 7])
def test_exactly_n_programs_whatever_divides(num_seeds):
    scores = [0.1 * i for i in range(num_seeds)]
    counts = allocate(16, scores)
    assert sum(counts) == 16
    assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts)  # the remainder goes to the highest scores


@pytest.mark.parametrize(
    ("num_passed", "choose"), [(1, "critic"), (3, "likelihood"), (7, "critic"), (7, "random")]
)
def test_refining_continues_its_seeds_verbatim(num_passed, choose, monkeypatch):
    critic_sampling = sampler(lambda i, _: i % 8 < num_passed)
    forced = []

    def spy(*args, prefixes, **options):
        found = write(*args, prefixes=prefixes, **options)
        forced.append((prefixes, found))
        return found

    write = critic_sampling.actor.sample
    monkeypatch.setattr(critic_sampling.actor, "sample", spy)
    search = Search(num_samples=8, temperature=1.0, top_p=1.0, choose=choose)
    found = critic_sampling.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    for candidates in found:
        assert len(candidates) == 16
        assert [c.kind for c in candidates] == ["plain"] * 8 + ["refine"] * 8
    (_, _), (seeds, continued) = forced
    assert any(prefix for group in seeds for prefix in group)
    for group, programs in zip(seeds, continued, strict=True):
        for prefix, ids in zip(group, programs, strict=True):
            assert ids[: len(prefix)] == prefix


def test_the_seed_of_a_completion_ends_before_the_next_block():
    model = sampler(lambda i, _: True).actor
    completion = replace(PROBLEMS[0], style="completion")
    body = model.program_ids("    return x + 1\n")[:-1]
    stopped = [*body, *model.program_ids("\ndef g(x):")]
    assert "\ndef" not in model.text(stopped[: model.length(completion, stopped)])
    assert "return x + 1" in model.text(stopped[: model.length(completion, stopped)])
    assert model.length(completion, [*body, model.end]) == len(body)
    assert model.length(completion, body) == len(body)  # cut off at max_target, without an end
    assert model.length(PROBLEMS[0], stopped) == len(stopped) - 1


def test_the_repair_model_shares_the_actors_tokens(tmp_path):
    actor = sampler(lambda i, _: True).actor
    actor.network.save_pretrained(tmp_path / "model")  # without a tokenizer
    config = replace(Config.tiny(), repair_init=str(tmp_path / "model"))
    assert parts.new_repairer(config, actor).tokenizer is actor.tokenizer
    small = CodeRL.new_network(replace(Config.tiny(), vocab_size=50), 50)
    small.save_pretrained(tmp_path / "small")
    config = replace(Config.tiny(), repair_init=str(tmp_path / "small"))
    with pytest.raises(UserError, match="checkpoint of the same family"):
        parts.new_repairer(config, actor)


def test_repair_only_where_nothing_passed():
    critic_sampling = sampler(lambda i, _: i == 0)  # a pass for the first problem alone
    search = Search(num_samples=5, num_repaired=2, temperature=1.0, top_p=1.0)
    found = critic_sampling.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    assert [group[-1].kind for group in found] == ["refine", "repair", "repair"]
    for group in found[1:]:
        repaired = group[5:]
        assert len(repaired) == 5
        assert len({c.seed for c in repaired}) == 2
        assert {c.seed for c in repaired} <= {c.program for c in group[:5]}


def test_hidden_tests_are_never_run_by_the_search():
    critic_sampling = sampler(lambda i, _: i % 2 == 0)
    search = Search(num_samples=4, num_rounds=2)
    critic_sampling.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    visible = [p.examples for p in PROBLEMS]
    asked = critic_sampling.runner.asked  # type: ignore[attr-defined]
    assert len(asked) == 3 * 4 * 3
    assert all(tests in visible for tests in asked)
    assert not any(tests == p.tests for tests in asked for p in PROBLEMS)


def test_random_choice_and_single_kinds_are_controls():
    critic_sampling = sampler(lambda i, _: True)
    search = Search(num_samples=6, kinds=("repair",), choose="random", temperature=1.0)
    found = critic_sampling.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    assert {c.kind for group in found for c in group} == {"plain"}
    search = Search(num_samples=6, choose="random", temperature=1.0)
    found = critic_sampling.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    assert all(len(group) == 12 and group[-1].kind == "refine" for group in found)


def test_ranking_puts_passed_examples_first():
    critic_sampling = sampler(lambda i, _: i % 3 == 1)
    search = Search(num_samples=6, num_rounds=0, temperature=1.0)
    found = critic_sampling.solve(PROBLEMS, search, torch.Generator().manual_seed(0))
    rankings = critic_sampling.rank(PROBLEMS, found, ByLikelihood(critic_sampling.actor))
    for group, ranking in zip(found, rankings, strict=True):
        assert sorted(ranking) == list(range(6))
        passed = [group[i].passed for i in ranking]
        assert passed == sorted(passed, reverse=True)


def test_repair_prompt_says_what_went_wrong():
    problem = PROBLEMS[0]
    verdict = Verdict(
        Outcome.RUNTIME_ERROR, "NameError", "name 'y' is not defined", 2, (), 0, 0, ""
    )
    text = repair_prompt(problem, "def f(x):\n    return y\n", verdict)
    assert text.startswith(prompt(problem).removesuffix("ANSWER:\n"))
    assert "BUGGY:\ndef f(x):\n    return y\n" in text
    assert "ERROR: runtime error: NameError: name 'y' is not defined: line 2\nANSWER:\n" in text


def test_the_critic_reads_more_and_more_of_a_program():
    critic_sampling = sampler(lambda i, _: True)
    actor = critic_sampling.actor
    samples = [
        Sample(p.id, actor.program_ids(p.solutions[0]), "", SpyRunner._verdict(i == 0))
        for i, p in enumerate(PROBLEMS)
    ]
    found = critic_quality(critic_sampling.checker, PROBLEMS, samples)
    assert [q.fraction for q in found] == [0.25, 0.5, 0.75, 1.0]
    assert all(q.majority_accuracy == pytest.approx(2 / 3) for q in found)
    assert all(0 <= q.accuracy <= 1 and q.auc is not None for q in found)
    alike = critic_quality(critic_sampling.checker, PROBLEMS, samples[:1])
    assert all(q.auc is None for q in alike)  # there is no failing program to be below
