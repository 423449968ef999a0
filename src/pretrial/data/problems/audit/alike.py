"""Problems, and tests of one problem, that are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pretrial.data.cleaning.dedup import NONE, NearDuplicates
from pretrial.data.problems.audit.findings import Report
from pretrial.data.problems.problem import Problem
from pretrial.sandbox.tests import Tests

_ALIKE = 0.85  # share of word sequences in common


def find_alike(problems: Sequence[Problem], names: Sequence[str], report: Report) -> None:
    """Report problems that come twice.

    Args:
        problems: in their order.
        names: what the report calls each.
        report: is added to.
    """
    ids: dict[str, int] = {}
    statements: dict[str, int] = {}
    tests: dict[str, int] = {}
    near = NearDuplicates(_ALIKE).add([problem.question for problem in problems])
    for place, problem in enumerate(problems):
        name = names[place]
        first = ids.setdefault(problem.id, place)
        if first != place:
            report.add(name, "duplicate_id", f"problem {first} has this id too")
        statement = " ".join(problem.question.split()).lower()
        first = statements.setdefault(statement, place)
        if first != place:
            report.add(name, "duplicate", f"the statement is that of {names[first]}")
        elif near[place] != NONE:
            words = f"the statement is nearly that of {names[near[place]]}"
            report.add(name, "near_duplicate", words)
        same = tests.setdefault(_digest(problem.tests), place)
        if same != place and first == place:
            report.add(name, "same_tests", f"the tests are those of {names[same]}")


def find_repeated(problem: Problem, name: str, report: Report) -> None:
    """Report tests of one problem with the same input."""
    expected: dict[str, str] = {}
    repeated, contradicting = 0, ""
    for asked, wanted in _pairs(problem.tests):
        known = expected.setdefault(asked, wanted)
        repeated += known == wanted
        if known != wanted and not contradicting:
            contradicting = f"{asked:.80} should give {known:.60} and {wanted:.60}"
    repeated -= len(expected)
    if contradicting:
        report.add(name, "contradiction", contradicting)
    if repeated > 0:
        report.add(name, "repeated_test", f"{repeated} tests come again")


def _pairs(tests: Tests) -> list[tuple[str, str]]:
    """(input, expected) of each test, as texts; nothing of an assert script that does more."""
    if tests.parts is None:
        return [(repr(a), repr(b)) for a, b in zip(tests.inputs, tests.outputs, strict=True)]
    return []


def _digest(tests: Tests) -> str:
    script = tests.script.replace(tests.function, "f") if tests.function else tests.script
    everything = repr((tests.kind, tests.inputs, tests.outputs, script))
    return hashlib.sha256(everything.encode("utf-8", "backslashreplace")).hexdigest()
