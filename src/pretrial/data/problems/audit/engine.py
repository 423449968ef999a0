"""The audit: reads problems, runs what should pass and what should fail, and reports."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretrial.data.problems.audit.alike import find_alike, find_repeated
from pretrial.data.problems.audit.findings import Report
from pretrial.data.problems.audit.mutants import Mutant, mutants
from pretrial.data.problems.audit.shaken import dependences
from pretrial.data.problems.audit.trivial import trivial_programs
from pretrial.data.problems.layouts import UnknownLayoutError, problems_of
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox import Limits, Runner, Verdict
from pretrial.sandbox.references import limits_after, seconds_of
from pretrial.sandbox.tests import Tests

_FACTOR, _FLOOR = 5.0, 0.3  # a mutant's time, by that of its reference; at least so many seconds
_ADVICE = ": mend the line, or leave bad rows out with --skip-bad"
_SLOW = 0.25  # of the time limit
Progress = Callable[[str, int, int], None]


@dataclass
class _Case:
    """A problem under audit.

    Attributes:
        problem: it.
        name: what the report calls it.
        reference: a program that passes; "" if there is none.
        start: where in it the solution begins.
        limits: of other programs.
    """

    problem: Problem
    name: str
    reference: str = ""
    start: int = 0
    limits: Limits = field(default_factory=Limits)


def audit(
    rows: Sequence[dict[str, Any]] | Sequence[Problem],
    *,
    skipped: Sequence[str] = (),
    num_mutants: int = 12,
    limits: Limits | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Audit problems.

    Args:
        rows: in any layout that `problems_of` reads, or problems.
        skipped: why other rows could not even be read.
        num_mutants: of each problem's reference, at most.
        limits: of the references.
        seed: draws the mutants.
        progress: called with what is being run, and how many programs of how many are done.
        **options: of the `Runner`: workers, isolation, compare, preamble, packages.

    Raises:
        UserError: there are no rows, or none can be read.
    """
    began = time.monotonic()
    report, base = Report(), limits or Limits(seconds=10.0)
    for reason in skipped:
        report.add("", "unreadable", reason.removesuffix(_ADVICE))
    cases = _read(rows, report)
    told = progress or (lambda *_: None)
    with Runner(**options) as runner:
        for case in cases:
            find_repeated(case.problem, case.name, report)
            if case.problem.tests.shares_process:
                report.add(case.name, "can_be_forged", "asserts share the program's process")
        _references(runner, cases, base, report, told)
        _failing(runner, cases, report, told, num_mutants, seed)
    solved = [case for case in cases if case.reference]
    jobs = [(case.reference, case.problem.tests) for case in solved]
    told("references in a shaken world", 0, len(jobs))
    found = dependences(jobs, [base] * len(jobs), **options)
    for case, reasons in zip(solved, found, strict=True):
        for check, words in reasons:
            report.add(case.name, check, words, case.reference)
    find_alike([case.problem for case in cases], [case.name for case in cases], report)
    places = {case.name: place for place, case in enumerate(cases)}
    report.findings.sort(key=lambda each: places.get(each.problem, -1))
    report.num_references, report.seconds = len(solved), time.monotonic() - began
    return report


def _read(rows: Sequence[Any], report: Report) -> list[_Case]:
    cases: list[_Case] = []
    last: UserError | None = None
    for place, row in enumerate(rows):
        report.num_problems += 1
        given = row.id if isinstance(row, Problem) else row.get("id", row.get("task_id", place))
        name = str(given)
        if any(case.name == name for case in cases):
            name = f"{name} (row {place})"
        if isinstance(row, Problem) and not len(row.tests):
            report.add(name, "no_tests", "there are no tests")
            continue
        try:
            [problem] = problems_of([row])
        except UnknownLayoutError:
            raise
        except UserError as error:
            check = "no_tests" if "has no tests" in str(error) else "unreadable"
            words = "there are no tests" if check == "no_tests" else f"row {place}: {error}"
            report.add(name, check, words.removesuffix("; --skip-bad leaves it out"))
            last = error
        else:
            cases.append(_Case(problem, name))
    if not report.num_problems:
        raise UserError("there are no problems: the data is empty")
    if not cases and last is not None:
        raise last
    return cases


def _references(
    runner: Runner, cases: Sequence[_Case], base: Limits, report: Report, told: Progress
) -> None:
    """Run the references, and keep of each problem the first that passes."""
    owners, jobs = [], []
    for case in cases:
        solutions = case.problem.solutions
        if not solutions:
            report.add(case.name, "no_reference", "there is no reference")
        for text in solutions:
            owners.append((case, text))
            jobs.append((case.problem.program(text), case.problem.tests))
    verdicts = runner.run(jobs, base, lambda done, total: told("references", done, total))
    for (case, text), (program, _), verdict in zip(owners, jobs, verdicts, strict=True):
        if not verdict.passed:
            report.add(case.name, "reference_fails", _words(verdict), program)
        elif not case.reference:
            case.reference, case.start = program, len(program) - len(text)
            case.limits = limits_after(verdict, base, _FACTOR, _FLOOR)
            if (needed := seconds_of(verdict)) > _SLOW * base.seconds:
                words = f"the reference needs {needed:.1f} s of {base.seconds:g}"
                report.add(case.name, "slow", words, program)


def _words(verdict: Verdict) -> str:
    where = f" (line {verdict.line})" if verdict.line else ""
    return f"the reference fails: {verdict.subtype}: {verdict.message}{where}"


def _failing(
    runner: Runner,
    cases: Sequence[_Case],
    report: Report,
    told: Progress,
    num_mutants: int,
    seed: int,
) -> None:
    """Run the programs that should fail, and report those that pass."""
    owners: list[tuple[_Case, str | Mutant]] = []
    jobs: list[tuple[str, Tests]] = []
    for case in cases:
        for words, program in trivial_programs(case.problem):
            owners.append((case, words))
            jobs.append((program, case.problem.tests))
        rng = random.Random(f"{seed} {case.name}")
        for mutant in mutants(case.reference, num_mutants, rng, case.start):
            owners.append((case, mutant))
            jobs.append((mutant.program, case.problem.tests))
    limits = [case.limits for case, _ in owners]
    verdicts = runner.run(jobs, limits, lambda done, all_: told("wrong programs", done, all_))
    counted: dict[str, list[bool]] = {}
    trivial: dict[str, list[tuple[str, str]]] = {}
    for (case, what), (program, _), verdict in zip(owners, jobs, verdicts, strict=True):
        if isinstance(what, Mutant):
            counted.setdefault(case.name, []).append(verdict.passed)
        if verdict.passed and isinstance(what, Mutant):
            report.add(case.name, "mutant_passes", str(what), program)
        elif verdict.passed:
            trivial.setdefault(case.name, []).append((str(what), program))
    for name, ((what_it_does, program), *others) in trivial.items():
        more = f", and {len(others)} others" if others else ""
        report.add(name, "trivial_passes", f"a program that {what_it_does} passes{more}", program)
    for name, passed in counted.items():
        report.mutants[name] = len(passed), passed.count(False)
        if all(passed) and len(passed) > 1:
            report.add(name, "nothing_killed", f"all {len(passed)} mutants pass")
