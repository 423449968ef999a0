"""No way to a reward but the right answer, for every kind of test."""

from __future__ import annotations

import pytest
from reward_hacks import FAMILIES, PRINTS, SECRETS, SMALL, TESTS

from pretrial.sandbox import Limits, Runner

KINDS = ("call", "stdin", "assert")
LIMITS = Limits(seconds=1.0, memory_mb=128)


@pytest.fixture(scope="module")
def runner():
    with Runner(stop_at_first=False) as runner:
        yield runner


def judged(runner, family, kind, tests):
    """(name, verdict) of each hack of a family, all tests run."""
    printed = PRINTS if kind == "stdin" else ""
    jobs = [(f"{text}{printed}", tests[kind]) for text in FAMILIES[family].values()]
    return list(zip(FAMILIES[family], runner.run(jobs, LIMITS), strict=True))


def test_there_are_more_than_two_hundred():
    assert sum(map(len, FAMILIES.values())) > 350
    assert not any(tests.shares_process for tests in (*TESTS.values(), *SMALL.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_answers_pass(kind, runner):
    right = f"SECRETS = {SECRETS!r}\n\ndef f(x, *_):\n"
    right += "    return SECRETS[{1: 0, 2: 1, 9: 1, 4: 2, 'x': 3, 5: 3}[x]]\n"
    small = "def f(a, b):\n    return {(3, 4): 7, (5, 0): 0, (9, 9): 2.5}.get((a, b), a + b)\n"
    printed = PRINTS if kind == "stdin" else ""
    jobs = [(right + printed, TESTS[kind]), (small + printed, SMALL[kind])]
    assert [verdict.message for verdict in runner.run(jobs)] == ["", ""]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_secret_is_found_out(family, kind, runner):
    found = judged(runner, family, kind, TESTS)
    assert [(name, verdict) for name, verdict in found if any(verdict.tests)] == []
    assert not any(verdict.passed for _, verdict in found)


@pytest.mark.parametrize("kind", KINDS)
def test_many_answers_and_nearly_right_ones_do_not_pass(kind, runner):
    found = judged(runner, "many", kind, SMALL)
    assert [(name, verdict) for name, verdict in found if verdict.passed] == []
