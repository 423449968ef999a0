"""Sampled programs: run on the tests, and kept with their outcomes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pretrial.data.problems.problem import Problem
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
        log_probs: of its tokens when it was sampled; empty where nothing asks for them.
    """

    problem: str
    ids: list[int]
    program: str
    verdict: Verdict
    baseline: int | None = None
    greedy: bool = False
    log_probs: tuple[float, ...] = ()

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


def execute(
    problems: Sequence[Problem],
    groups: Sequence[list[list[int]]],
    programs: Sequence[list[str]],
    runner: AnyRunner,
    limits: Limits,
    *,
    greedy: bool = True,
) -> list[Sample]:
    """What `ProgramModel.draw` gave, run on the hidden tests.

    Args:
        problems: N of them.
        groups: token ids of the programs of each.
        programs: their texts, runnable.
        runner: runs them.
        limits: of a program.
        greedy: the first program of each group is the greedy one, the baseline of its problem.
    """
    verdicts = judge(problems, programs, runner, limits, visible=False)
    return [
        Sample(
            problem.id,
            ids,
            text,
            verdict,
            baseline=int(own[0].outcome) if greedy else None,
            greedy=greedy and i == 0,
        )
        for problem, group, texts, own in zip(problems, groups, programs, verdicts, strict=True)
        for i, (ids, text, verdict) in enumerate(zip(group, texts, own, strict=True))
    ]


def outcome_counts(samples: Iterable[Sample]) -> dict[str, int]:
    """How many samples ended in each outcome class."""
    counts = {outcome.name.lower(): 0 for outcome in Outcome if outcome >= 0}
    for s in samples:
        counts[Outcome(s.outcome).name.lower()] += 1
    return counts
