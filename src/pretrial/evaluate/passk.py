"""pass@k and n@k: the estimators, and the task that generates, runs and counts programs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any, Literal

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.evaluate.intervals import bootstrap_difference, bootstrap_mean
from pretrial.evaluate.result import Result
from pretrial.evaluate.self_test import SelfTest, self_test

if TYPE_CHECKING:
    from pretrial.sandbox import Limits, Verdict

__all__ = ["bootstrap_difference", "bootstrap_mean", "measure_programs", "n_at_k", "pass_at_k"]


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Probability that k of the samples, drawn without replacement, hold a correct one.

    The unbiased estimate 1 - C(n - c, k) / C(n, k) of Chen et al. 2021, arXiv 2107.03374, section
    2.1, in whole numbers until the last division.

    Raises:
        UserError: k is not between 1 and the number of samples.
    """
    if not 1 <= k <= num_samples:
        raise UserError(f"pass@{k} needs at least {max(k, 1)} samples a problem, not {num_samples}")
    return 1 - comb(num_samples - num_correct, k) / comb(num_samples, k)


def n_at_k(num_kept: int, num_kept_correct: int, n: int) -> float:
    """Probability that one of n submissions is correct, after a filter by the example tests.

    Of k samples of a problem, those that pass the tests shown in its statement are kept; n of them,
    drawn without replacement, are submitted, or all where no more than n are left.

    Args:
        num_kept: samples that pass the example tests.
        num_kept_correct: those of them that pass the hidden tests too.
        n: submissions.

    Raises:
        UserError: n is below 1.
    """
    if n < 1:
        raise UserError(f"n@k submits at least 1 program, not {n}")
    if num_kept <= n:
        return float(num_kept_correct > 0)
    return 1 - comb(num_kept - num_kept_correct, n) / comb(num_kept, n)


def measure_programs(
    method: Any,
    data: Sequence[Any],
    *,
    num_samples: int = 20,
    k: tuple[int, ...] = (1, 5),
    n: tuple[int, ...] = (),
    temperature: float = 0.6,
    top_p: float = 0.95,
    greedy: bool = False,
    seed: int = 0,
    seconds: float = 4.0,
    compare: Literal["strict", "apps"] = "strict",
    execute_on: Literal["local", "ray"] = "local",
    isolation: Literal["auto", "namespaces", "rlimits", "none"] = "auto",
    allow_packages: tuple[str, ...] = (),
    problems_at_once: int = 64,
) -> Result:
    """pass@k and n@k of the programs that a method writes, run in the sandbox.

    Before anything is written, the reference solutions are run; problems whose tests they do not
    pass are left out, and the notes say how many and why.

    For n@k the programs are first filtered by the tests that the statement shows; a problem that
    shows none keeps all of its programs.

    Args:
        method: with the ability `generate_programs(problems, num_samples, *, temperature, top_p,
            greedy, generator) -> list[list[str]]`.
        data: problems, or rows of a layout that `read_problems` knows.
        num_samples: programs a problem; 1 with `greedy`.
        k: the k of pass@k.
        n: the n of n@k, where k is `num_samples`.
        temperature: of sampling.
        top_p: of nucleus sampling.
        greedy: one program a problem, the most probable token each time.
        seed: of sampling and of the bootstrap.
        seconds: that a program's tests may take together.
        compare: "strict" or "apps", how outputs are compared.
        execute_on: where programs run: "local", or "ray" for all machines of a cluster.
        isolation: of programs: auto, namespaces, rlimits, or none (they run with your rights).
        allow_packages: that programs and tests may import, with what these require.
        problems_at_once: problems whose programs are generated together.

    Returns:
        `items["pass@k"]` and `items["n@k"]`, one value a problem that can be scored; the notes say
        which could not ("pass@k over"), and hold the distribution of outcomes over programs, the
        isolation in force, and the seconds spent.

    Raises:
        UserError: there are no problems, none can be scored, a package is not installed, or a k is
            above `num_samples`.
    """
    import torch

    execution = Execution(seconds, compare, execute_on, isolation, allow_packages)
    problems = as_problems(data)
    if greedy:
        num_samples, k = 1, (1,)
    for size in k:
        pass_at_k(num_samples, 0, size)  # refuses an impossible k before hours of sampling

    def write(tested: SelfTest) -> Written:
        started = time.monotonic()
        kept, generator = tested.of(problems), torch.Generator().manual_seed(seed)
        programs: list[list[str]] = []
        for start in range(0, len(kept), problems_at_once):
            programs += method.generate_programs(
                kept[start : start + problems_at_once],
                num_samples,
                temperature=temperature,
                top_p=top_p,
                greedy=greedy,
                generator=generator,
            )
        return programs, {
            "decoding": "greedy" if greedy else f"top-p {top_p}, temperature {temperature}",
            "generate_seconds": round(time.monotonic() - started, 2),
        }

    return execution.score(problems, write, k=k, n=n, seed=seed)


def as_problems(data: Sequence[Any]) -> list[Problem]:
    """Problems as they are, or read from rows of a layout that `read_problems` knows.

    Raises:
        UserError: there are none.
    """
    from pretrial.data.reading.problems import read_problems

    if not len(data):
        raise UserError("there are no problems to measure programs on: give data with some")

    known = all(isinstance(row, Problem) for row in data)
    return list(data) if known else read_problems(list(data))


def score_programs(
    problems: Sequence[Problem],
    programs: Sequence[Sequence[str]],
    notes: Mapping[str, Any],
    *,
    k: Sequence[int],
    n: Sequence[int],
    seed: int = 0,
    seconds: float = 4.0,
    compare: Literal["strict", "apps"] = "strict",
    execute_on: Literal["local", "ray"] = "local",
    isolation: Literal["auto", "namespaces", "rlimits", "none"] = "auto",
    allow_packages: tuple[str, ...] = (),
) -> Result:
    """pass@k and n@k of programs that were written already, as many for each problem.

    The arguments and the result are those of `measure_programs`.
    """
    execution = Execution(seconds, compare, execute_on, isolation, allow_packages)

    def written(tested: SelfTest) -> Written:
        return [programs[place] for place in tested.kept], notes

    return execution.score(problems, written, k=k, n=n, seed=seed)


Written = tuple[Sequence[Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Execution:
    """How programs are run; the attributes are arguments of `measure_programs`."""

    seconds: float
    compare: Literal["strict", "apps"]
    execute_on: Literal["local", "ray"]
    isolation: str
    allow_packages: tuple[str, ...]

    def score(
        self,
        problems: Sequence[Problem],
        write: Callable[[SelfTest], Written],
        *,
        k: Sequence[int],
        n: Sequence[int],
        seed: int,
    ) -> Result:
        """The score of the problems that can be scored.

        Args:
            problems: all of them.
            write: gives the programs of those that passed the self-test, and notes.
            k, n, seed: arguments of `measure_programs`.

        Raises:
            UserError: no problem can be scored, or a package is not installed.
        """
        from pretrial.sandbox import Limits, runner_on

        limits = Limits(seconds=self.seconds)
        options: dict[str, Any] = {"isolation": self.isolation, "packages": self.allow_packages}
        with runner_on(self.execute_on, compare=self.compare, **options) as runner:
            tested = self_test(problems, runner, limits)
            programs, notes = write(tested)
            began = time.monotonic()
            kept = tested.of(problems)
            hidden = _judge(runner, programs, [problem.tests for problem in kept], limits)
            shown = _judge(runner, programs, [problem.examples for problem in kept], limits)
        num_samples = len(programs[0])
        told = {
            "pass@k over": str(tested),
            "num_problems": len(kept),
            "num_without_references": tested.num_without,
            "num_sharing_process": sum(problem.tests.shares_process for problem in kept),
            "num_samples": num_samples,
            "outcomes": _outcomes(hidden),
            "isolation": runner.isolation,
            "compare": self.compare,
            "num_with_examples": sum(problem.examples is not None for problem in kept),
            "execute_seconds": round(time.monotonic() - began, 2),
        }
        return Result.of_items(_items(hidden, shown, k, n, num_samples), told | dict(notes), seed)


def _judge(
    runner: Any, programs: Sequence[Sequence[str]], tests: list[Any], limits: Limits
) -> list[list[Verdict] | None]:
    """Verdicts of each problem's programs; None for a problem without such tests."""
    jobs = [
        (program, test)
        for group, test in zip(programs, tests, strict=True)
        if test is not None
        for program in group
    ]
    verdicts = iter(runner.run(jobs, limits))
    return [
        None if test is None else [next(verdicts) for _ in group]
        for group, test in zip(programs, tests, strict=True)
    ]


def _items(
    hidden: list[list[Verdict] | None],
    shown: list[list[Verdict] | None],
    k: Sequence[int],
    n: Sequence[int],
    num_samples: int,
) -> dict[str, list[float]]:
    """Every metric's value for every problem."""
    items: dict[str, list[float]] = {f"pass@{size}": [] for size in k}
    items |= {f"{size}@{num_samples}": [] for size in n}
    for verdicts, filtered in zip(hidden, shown, strict=True):
        right = [verdict.passed for verdict in verdicts or ()]
        for size in k:
            items[f"pass@{size}"].append(pass_at_k(num_samples, sum(right), size))
        kept = [verdict.passed for verdict in filtered] if filtered else [True] * len(right)
        kept_right = [r for r, keep in zip(right, kept, strict=True) if keep]
        for size in n:
            items[f"{size}@{num_samples}"].append(n_at_k(len(kept_right), sum(kept_right), size))
    return items


def _outcomes(verdicts: list[list[Verdict] | None]) -> dict[str, float]:
    """Share of the programs with each outcome."""
    names = Counter(verdict.outcome.name for group in verdicts for verdict in group or ())
    return {name: count / names.total() for name, count in sorted(names.items())}
