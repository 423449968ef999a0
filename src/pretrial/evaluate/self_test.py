"""Whether programs can be scored at all: the reference solutions of the problems pass their tests.

A problem whose tests cannot run, for want of a package or of time, would count every program as
wrong. It is left out of the score, and the score says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError

if TYPE_CHECKING:
    from pretrial.sandbox import AnyRunner, Limits, Verdict

_MISSING = re.compile(r"No module named '(\w+)")


@dataclass(frozen=True)
class SelfTest:
    """Which problems can be scored. As a text: "150 of 164; 14 need numpy: --allow-packages numpy".

    Attributes:
        num_problems: all of them.
        kept: the places of those that can be scored.
        needs: packages that are missing, with the number of problems that need each.
        faults: what else the references of a problem come to, with the number of problems.
        num_untested: problems without tests.
        num_without: problems among the kept ones without a reference, of which less is known.
    """

    num_problems: int
    kept: tuple[int, ...]
    needs: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    num_untested: int = 0
    num_without: int = 0

    def of(self, problems: Sequence[Problem]) -> list[Problem]:
        """The problems that can be scored."""
        return [problems[place] for place in self.kept]

    @property
    def reasons(self) -> str:
        """Why the others cannot be, in words; "" if there are none."""
        words = [
            f"{count} need{'s' if count == 1 else ''} {name}: {_mend(name)}"
            for name, count in self.needs.items()
        ]
        if self.faults:
            kinds = ", ".join(f"{name} {count}" for name, count in self.faults.items())
            count = sum(self.faults.values())
            words.append(f"the reference solutions of {count} fail their tests: {kinds}")
        if self.num_untested:
            words.append(f"{self.num_untested} without tests")
        return "; ".join(words)

    def __str__(self) -> str:
        return "; ".join(filter(None, (f"{len(self.kept)} of {self.num_problems}", self.reasons)))


def self_test(problems: Sequence[Problem], runner: AnyRunner, limits: Limits) -> SelfTest:
    """Run the reference solutions of problems on their tests.

    One that passes is enough. Where there is no reference, the tests run after an empty program,
    which shows whether they import what is not there.

    Args:
        problems: with or without references.
        runner: as it is to score programs.
        limits: as programs are to have them.

    Raises:
        UserError: no problem can be scored.
    """
    solutions = [[p.program(text) for text in p.solutions] or [""] for p in problems]
    tests = [problem.tests for problem in problems]
    first = runner.run([(own[0], each) for own, each in zip(solutions, tests, strict=True)], limits)
    verdicts = [[verdict] for verdict in first]
    # Others are run only where the first fails: data sets have hundreds of some problems.
    again = [
        (place, text)
        for place, own in enumerate(solutions)
        if not first[place].passed
        for text in own[1:]
    ]
    further = runner.run([(text, tests[place]) for place, text in again], limits)
    for (place, _), verdict in zip(again, further, strict=True):
        verdicts[place].append(verdict)
    kept, untested, without = [], 0, 0
    needs: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for place, (problem, own) in enumerate(zip(problems, verdicts, strict=True)):
        package = next(filter(None, map(_package, own)), "")
        if not len(problem.tests):
            untested += 1
        elif any(verdict.passed for verdict in own) or not (problem.solutions or package):
            kept.append(place)
            without += not problem.solutions
        elif package:
            needs[package] += 1
        else:
            faults[_kind(own[0])] += 1
    found = SelfTest(len(problems), tuple(kept), needs, faults, untested, without)
    if not kept:
        raise UserError(f"of {len(problems)} problems none can be scored: {found.reasons}")
    return found


def fault_of(verdict: Verdict) -> str:
    """Why a reference solution does not pass, in a few words; "" if it does."""
    if verdict.passed:
        return ""
    package = _package(verdict)
    return f"needs {package}: {_mend(package)}" if package else _kind(verdict)


def _kind(verdict: Verdict) -> str:
    return verdict.subtype or verdict.outcome.name


def _package(verdict: Verdict) -> str:
    """The package that a program or its tests import and have not; "" if that is not the fault."""
    if verdict.subtype != "ModuleNotFoundError":
        return ""
    name = _MISSING.match(verdict.message)
    return name[1] if name else ""


def _mend(package: str) -> str:
    from pretrial.sandbox.packages import missing

    allow = f"--allow-packages {package}"
    return f"pip install {package}, and {allow}" if missing(package) else allow
