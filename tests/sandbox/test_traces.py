"""What came of each test, and verdicts as they come, up to a time."""

from __future__ import annotations

import time

import pytest

from pretrial.sandbox import Limits, Outcome, Runner, TestResult, Verdict
from pretrial.sandbox.faults import LOST
from pretrial.sandbox.kept import Kept
from pretrial.sandbox.outcome import NOT_RUN, PASSED
from pretrial.sandbox.tests import Tests

CALL = Tests("call", "f", ([1], [2], [3]), (1, 2, 3))
STDIN = Tests("stdin", inputs=("1\n", "2\n", "3\n"), outputs=("1\n", "2\n", "3\n"))
SCRIPT = Tests("assert", "f", script="assert f(1) == 1\nassert f(2) == 2\nassert f(3) == 3\n")
WRONG = "wrong_answer"


@pytest.fixture(scope="module")
def runner():
    with Runner(workers=1, stop_at_first=False) as runner:
        yield runner


def kinds(verdict, num_tests=3):
    trace = verdict.trace(num_tests)
    assert len(trace) == num_tests
    return [each.subtype or each.outcome.name for each in trace]


@pytest.mark.parametrize("tests", [CALL, STDIN, SCRIPT], ids=["call", "stdin", "assert"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return n", ["PASSED_TEST"] * 3),
        ("return {1: 1, 3: 3}[n]", ["PASSED_TEST", "KeyError", "PASSED_TEST"]),
        ("return 9 if n == 1 else 1 // (n - 2)", [WRONG, "ZeroDivisionError", WRONG]),
        ("return (", ["SyntaxError"] * 3),
    ],
)
def test_each_test_has_its_own_fault(tests, body, expected, runner):
    text = f"def f(n):\n    {body}\n"
    if tests is STDIN:
        text += "print(f(int(input())))\n"
    [verdict] = runner.run([(text, tests)])
    assert kinds(verdict) == expected
    assert Verdict.from_dict(verdict.to_dict()) == verdict


def test_tests_that_were_not_run(runner):
    gone = "import os\ndef f(n):\n    if n == 2:\n        os._exit(0)\n    return n\n"
    [verdict] = runner.run([(gone, CALL)])
    assert kinds(verdict) == ["PASSED_TEST", "exit", "not_run"]
    assert verdict.trace(3)[::2] == (PASSED, NOT_RUN)
    with Runner(workers=1) as stopping:
        [verdict] = stopping.run([("def f(n):\n    return 2\n", CALL)])
    assert kinds(verdict) == [WRONG, "not_run", "not_run"]
    [verdict] = runner.run([("x = 1 / 0\n", CALL)])
    assert kinds(verdict) == ["ZeroDivisionError"] * 3


def test_a_fault_behind_the_last_test_is_told(runner):
    [verdict] = runner.run([("def f(n):\n    return n\n", f"{SCRIPT.script}missing()\n")])
    assert kinds(verdict) == ["PASSED_TEST", "PASSED_TEST", "NameError"]


def test_a_twin_has_the_lines_of_its_own_text(runner):
    text = "def f(n):\n    return 1 // (n - 2)\n"
    verdicts = runner.run([(text, CALL), (f"# moved\n\n{text}", CALL)])
    assert [verdict.trace(3)[1].line for verdict in verdicts] == [2, 4]


def test_verdicts_come_as_they_are_known_and_end_with_the_time():
    slow = "import time\ntime.sleep(60)\n"
    other = Tests("stdin", inputs=("",) * 9, outputs=("",) * 9)
    with Runner(workers=2) as runner:
        jobs = [(slow, other), *[(f"def f(n):\n    return n\nx = {n}\n", CALL) for n in range(4)]]
        start = time.monotonic()
        found = dict(runner.judged(jobs, Limits(seconds=30.0), seconds=1.0))
        assert time.monotonic() - start < 10
        assert 0 not in found
        assert all(verdict.passed for verdict in found.values())
        # the runner goes on, and gives from its memory at once
        assert all(verdict.passed for verdict in runner.run(jobs[1:]))
        assert dict(runner.judged(jobs[1:], seconds=30.0)).keys() == {0, 1, 2, 3}
        assert list(runner.judged([(slow, CALL)], seconds=0.0)) == []


def test_a_verdict_of_a_lost_worker_is_not_kept(monkeypatch):
    lost = Verdict(Outcome.RUNTIME_ERROR, "signal", f"{LOST}: broken pipe")
    program = "def f(n):\n    return n\n"
    with Runner(workers=1) as runner:
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "_judge", lambda *_: lost)
            assert runner.run([(program, CALL)]) == [lost]
        assert runner.run([(program, CALL)])[0].passed
    assert lost.trace(2) == (NOT_RUN, NOT_RUN)
    assert TestResult(Outcome.PASSED_TEST).passed


def test_verdicts_with_many_faults_take_their_room():
    kept = Kept()
    fault = TestResult(Outcome.FAILED_TEST, WRONG)
    for key in "abc":
        kept.put(key, Verdict(Outcome.FAILED_TEST, faults=dict.fromkeys(range(3), fault)), [], 9)
    assert kept.get("a") is None
    assert kept.get("b")
    kept.put("d", Verdict(Outcome.PASSED_TEST), [], 9)
    kept.put("d", Verdict(Outcome.PASSED_TEST), [], 9)  # the same again takes no more
    assert kept.get("c")
    assert kept.get("b")
    kept.put("e", Verdict(Outcome.PASSED_TEST), [], 9)
    assert kept.get("d") is None
    kept.put("f", Verdict(Outcome.PASSED_TEST), [], 9)
    assert kept.get("c") is None
    assert all(map(kept.get, "bef"))
