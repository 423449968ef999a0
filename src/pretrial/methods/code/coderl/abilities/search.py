"""Critic sampling: sample, run the example tests, refine or repair.

There is no public reference for it; `docs/coderl.md` describes it whole. Only the tests that the
statement shows are run here. Hidden tests are for scoring, elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.methods.code.coderl.abilities.choosing import (
    AtRandom,
    ByCritic,
    ByLikelihood,
    Choose,
    Chooser,
)
from pretrial.methods.code.coderl.data.samples import judge
from pretrial.methods.code.coderl.network.critic import Critic
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.sandbox import AnyRunner, Limits, Outcome, Verdict

_FAILED = (Outcome.COMPILE_ERROR, Outcome.RUNTIME_ERROR, Outcome.FAILED_TEST)
Kind = Literal["plain", "refine", "repair"]


@dataclass(frozen=True)
class Search:
    """How to search.

    Attributes:
        num_samples: N, programs a problem and round: the first round draws N, so does each later.
        num_rounds: rounds of refining or repairing after the first; 0 is plain sampling.
        num_repaired: M, failed programs given to the repair model (paper: best M = 1).
        kinds: what may follow the first round; where neither serves, N more are drawn plainly.
        choose: takes seeds and failed programs by the actor's own "likelihood", by the binary
            "critic" as the paper does, or at "random", the control that both have to beat.
        temperature: of sampling.
        top_p: of nucleus sampling.
    """

    num_samples: int = 200
    num_rounds: int = 1
    num_repaired: int = 1
    kinds: tuple[Kind, ...] = ("refine", "repair")
    choose: Choose = "likelihood"
    temperature: float = 0.6
    top_p: float = 0.95


@dataclass
class Candidate:
    """A program written during the search.

    Attributes:
        ids: its tokens, end token included.
        program: its text, runnable.
        verdict: on the example tests.
        kind: how it came about.
        round: 0 for the first.
        seed: the forced prefix it continues, or the failed program it repairs; "" for neither.
    """

    ids: list[int]
    program: str
    verdict: Verdict
    kind: Kind = "plain"
    round: int = 0
    seed: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict.outcome == Outcome.PASSED_TEST

    def to_row(self) -> dict[str, Any]:
        """What is told of it."""
        return {
            "program": self.program,
            "outcome": self.verdict.outcome.name,
            "message": self.verdict.message,
            "kind": self.kind,
            "round": self.round,
            "seed": self.seed,
        }


class _Branch(NamedTuple):
    """What is to be written: so many programs for a prompt, each beginning with the prefix."""

    source: list[int]
    prefix: list[int]
    num_programs: int
    seed: str = ""


class _Plan(NamedTuple):
    """What one problem is given in the next round."""

    kind: Kind
    branches: list[_Branch]


def allocate(total: int, scores: Sequence[float]) -> list[int]:
    """Parts `total` over items as evenly as can be, the remainder to the highest scores."""
    each, rest = divmod(total, len(scores))
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    counts = [each] * len(scores)
    for i in ranked[:rest]:
        counts[i] += 1
    return counts


class CriticSampler:
    """Searches for programs with an actor and, where there are, a binary critic and a repair model.

    Args:
        actor: writes programs.
        checker: the binary critic, for `choose="critic"`.
        repairer: rewrites failed programs; without one more are drawn plainly.
        runner: runs the example tests.
        limits: of a program.
        batch_size: programs written at once.
    """

    def __init__(
        self,
        actor: ProgramModel,
        checker: Critic | None,
        repairer: ProgramModel | None,
        runner: AnyRunner,
        limits: Limits | None = None,
        batch_size: int = 512,
    ) -> None:
        self.actor = actor
        self.checker = checker
        self.repairer = repairer
        self.runner = runner
        self.limits = limits or Limits()
        self.batch_size = batch_size

    def solve(
        self, problems: Sequence[Problem], search: Search, generator: torch.Generator
    ) -> list[list[Candidate]]:
        """All candidates of each problem, in the order of their rounds: N * (1 + rounds) each."""
        chooser = self.chooser(search.choose, generator)
        sources = [self.actor.problem_ids(problem) for problem in problems]
        plans = [_plain(source, search) for source in sources]
        found = self._draw(problems, plans, search, generator, round_=0)
        for round_ in range(1, search.num_rounds + 1):
            plans = [
                self._plan(problem, source, candidates, search, chooser)
                for problem, source, candidates in zip(problems, sources, found, strict=True)
            ]
            drawn = self._draw(problems, plans, search, generator, round_)
            for old, new in zip(found, drawn, strict=True):
                old += new
        return found

    def chooser(self, choose: Choose, generator: torch.Generator) -> Chooser:
        """What chooses among programs.

        Raises:
            UserError: it is to be the critic, and there is none.
        """
        if choose == "likelihood":
            return ByLikelihood(self.actor)
        if choose == "random":
            return AtRandom(generator)
        if self.checker is None:
            raise UserError(
                "choosing by the critic needs the binary critic, which this checkpoint lacks: train"
                " it with `pretrial train coderl --init` it, or use `--choose likelihood`"
            )
        return ByCritic(self.checker)

    def rank(
        self, problems: Sequence[Problem], found: Sequence[list[Candidate]], chooser: Chooser
    ) -> list[list[int]]:
        """Candidates of each problem from best to worst: the examples passed, then the score."""
        rankings = []
        for problem, candidates in zip(problems, found, strict=True):
            source = self.actor.problem_ids(problem)
            scores = chooser.scores(source, [c.ids for c in candidates])
            keys = [(c.passed, score) for c, score in zip(candidates, scores, strict=True)]
            rankings.append(sorted(range(len(keys)), key=lambda i: keys[i], reverse=True))
        return rankings

    def _draw(
        self,
        problems: Sequence[Problem],
        plans: Sequence[_Plan],
        search: Search,
        generator: torch.Generator,
        round_: int,
    ) -> list[list[Candidate]]:
        """Carries out the plans and runs the example tests."""
        groups: list[list[list[int]]] = [[] for _ in plans]
        seeds: list[list[str]] = [[] for _ in plans]
        for model, kinds in ((self.actor, ("plain", "refine")), (self.repairer, ("repair",))):
            rows = [
                (p, branch)
                for p, plan in enumerate(plans)
                for branch in plan.branches
                if plan.kind in kinds and branch.num_programs
            ]
            if not rows or model is None:
                continue
            drawn = model.sample(
                [problems[p] for p, _ in rows],
                [branch.source for _, branch in rows],
                [branch.num_programs for _, branch in rows],
                generator,
                temperature=search.temperature,
                top_p=search.top_p,
                prefixes=[[branch.prefix] * branch.num_programs for _, branch in rows],
                batch_size=self.batch_size,
            )
            for (p, branch), group in zip(rows, drawn, strict=True):
                groups[p] += group
                seeds[p] += [branch.seed] * len(group)
        programs = self.actor.programs(problems, groups)
        verdicts = judge(problems, programs, self.runner, self.limits, visible=True)
        return [
            [
                Candidate(ids, text, verdict, plan.kind, round_, seed)
                for ids, text, verdict, seed in zip(*columns, strict=True)
            ]
            for plan, *columns in zip(plans, groups, programs, verdicts, seeds, strict=True)
        ]

    def _plan(
        self,
        problem: Problem,
        source: list[int],
        candidates: Sequence[Candidate],
        search: Search,
        chooser: Chooser,
    ) -> _Plan:
        """Refine where something passed, repair where nothing did, else draw plainly."""
        passed = [c for c in candidates if c.passed]
        failed = [c for c in candidates if c.verdict.outcome in _FAILED]
        if passed and "refine" in search.kinds:
            return self._refine(problem, source, passed, search, chooser)
        if failed and not passed and "repair" in search.kinds and self.repairer is not None:
            return self._repair(problem, source, failed, search, chooser, self.repairer)
        return _plain(source, search)

    def _refine(
        self,
        problem: Problem,
        source: list[int],
        passed: list[Candidate],
        search: Search,
        chooser: Chooser,
    ) -> _Plan:
        """Seeds from the passed programs: their prefixes up to where the chooser says."""
        lengths = [self.actor.length(problem, c.ids) for c in passed]
        found = chooser.seeds(source, [c.ids for c in passed], lengths)
        seeds = [c.ids[: seed.keep] for c, seed in zip(passed, found, strict=True)]
        counts = allocate(search.num_samples, [seed.score for seed in found])
        return _Plan(
            "refine",
            [
                _Branch(source, seed, count, self.actor.text(seed))
                for seed, count in zip(seeds, counts, strict=True)
            ],
        )

    def _repair(
        self,
        problem: Problem,
        source: list[int],
        failed: list[Candidate],
        search: Search,
        chooser: Chooser,
        repairer: ProgramModel,
    ) -> _Plan:
        """The most promising failed programs, each once, for the repair model."""
        distinct = list({c.program: c for c in failed}.values())
        scores = chooser.scores(source, [c.ids for c in distinct])
        ranked = sorted(range(len(distinct)), key=lambda i: (-scores[i], i))[: search.num_repaired]
        counts = allocate(search.num_samples, [scores[i] for i in ranked])
        chosen = [distinct[i] for i in ranked]
        return _Plan(
            "repair",
            [
                _Branch(repairer.repair_ids(problem, c.program, c.verdict), [], count, c.program)
                for c, count in zip(chosen, counts, strict=True)
            ],
        )


def _plain(source: list[int], search: Search) -> _Plan:
    """As many programs as a round has."""
    return _Plan("plain", [_Branch(source, [], search.num_samples)])
