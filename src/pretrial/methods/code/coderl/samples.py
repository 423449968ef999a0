"""Sampling programs, running them, and keeping them with their outcomes (mechanisms 4 and 5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pretrial.data.problems.problem import Problem
from pretrial.methods.code.coderl.model import ProgramModel
from pretrial.sandbox import AnyRunner, Limits, Outcome, Verdict


@dataclass(frozen=True)
class Sample:
    """One program written for one problem, and what the runner said of it.

    Attributes:
        problem: its id.
        ids: the tokens as they were sampled, end token included.
        program: what was run.
        verdict: the runner's.
        baseline: outcome class of the greedy program for the same problem; None before it is known.
        greedy: True for that greedy program itself.
    """

    problem: str
    ids: list[int]
    program: str
    verdict: Verdict
    baseline: int | None = None
    greedy: bool = False

    @property
    def outcome(self) -> int:
        """Outcome class, 0 to 3."""
        return int(self.verdict.outcome)

    @property
    def passed(self) -> bool:
        return self.verdict.outcome == Outcome.PASSED_TEST


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Samples as one JSON object a line."""
    with path.open("w") as file:
        for s in samples:
            row = asdict(replace(s, verdict=None)) | {"verdict": s.verdict.to_dict()}  # type: ignore[arg-type]
            file.write(json.dumps(row) + "\n")


def read_samples(path: Path) -> list[Sample]:
    """What `write_samples` wrote."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.open()]
    return [Sample(**row | {"verdict": Verdict.from_dict(row["verdict"])}) for row in rows]


def judge(
    problems: Sequence[Problem],
    groups: Sequence[Sequence[str]],
    runner: AnyRunner,
    limits: Limits,
    *,
    visible: bool,
) -> list[list[Verdict]]:
    """Verdicts of groups of programs, one group a problem.

    Args:
        visible: run the tests that the statement shows; else the hidden ones. A problem that shows
            none gives verdicts UNTESTED.
    """
    jobs, places = [], []
    verdicts = [
        [Verdict(Outcome.UNTESTED, message="the statement shows no tests")] * len(group)
        for group in groups
    ]
    for p, (problem, group) in enumerate(zip(problems, groups, strict=True)):
        tests = problem.examples if visible else problem.tests
        if tests is None or not len(tests):
            continue
        jobs += [(program, tests) for program in group]
        places += [(p, i) for i in range(len(group))]
    for (p, i), verdict in zip(places, runner.run(jobs, limits), strict=True):
        verdicts[p][i] = verdict
    return verdicts


def draw(
    actor: ProgramModel,
    problems: Sequence[Problem],
    prompts: Sequence[list[int]],
    generator: torch.Generator,
    *,
    num_samples: int,
    temperature: float,
    top_p: float,
) -> list[list[list[int]]]:
    """Programs of every problem, as tokens: the greedy one, then `num_samples` sampled ones."""
    greedy = actor.sample(problems, prompts, 1, generator, greedy=True)
    if not num_samples:
        return greedy
    drawn = actor.sample(
        problems, prompts, num_samples, generator, temperature=temperature, top_p=top_p
    )
    return [first + rest for first, rest in zip(greedy, drawn, strict=True)]


def execute(
    actor: ProgramModel,
    problems: Sequence[Problem],
    groups: Sequence[list[list[int]]],
    runner: AnyRunner,
    limits: Limits,
) -> list[Sample]:
    """What `draw` gave, run on the hidden tests. The greedy program is its problem's baseline."""
    programs = [
        [actor.program(problem, ids) for ids in group]
        for problem, group in zip(problems, groups, strict=True)
    ]
    found = []
    for problem, group, texts, verdicts in zip(
        problems,
        groups,
        programs,
        judge(problems, programs, runner, limits, visible=False),
        strict=True,
    ):
        baseline = int(verdicts[0].outcome)
        found += [
            Sample(problem.id, ids, text, verdict, baseline, greedy=i == 0)
            for i, (ids, text, verdict) in enumerate(zip(group, texts, verdicts, strict=True))
        ]
    return found


def outcome_counts(samples: Iterable[Sample]) -> dict[str, int]:
    """How many samples ended in each outcome class."""
    counts = {outcome.name.lower(): 0 for outcome in Outcome if outcome >= 0}
    for s in samples:
        counts[Outcome(s.outcome).name.lower()] += 1
    return counts
