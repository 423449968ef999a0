"""Programs that attack the runner: each gets its stated class and leaves nothing behind.

A fixture in `hostile/` begins with `# kind | OUTCOME | subtype | what it tries`; `*` is any
subtype. A second line `# rlimits | OUTCOME | subtype`, or `any`, says what becomes of it where
namespaces are refused, if that differs.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from pretrial.data.problems import Tests
from pretrial.sandbox import Limits, Outcome, Runner

FIXTURES = sorted((Path(__file__).parent / "hostile").glob("*.txt"))
SHORT, LONG = 0.5, 5.0  # seconds, for programs that should and should not run out of time
TESTS = {
    "call": Tests("call", "add", ([1, 2], [3, 4]), (3, 7)),
    "stdin": Tests("stdin", inputs=("1 2\n", "3 4\n"), outputs=("3\n", "7\n")),
    "assert": Tests("assert", "add", script="def check(f):\n    assert f(1, 2) == 3\ncheck(add)\n"),
}
# Under a shared uid these reach the user's own processes, or threads are not allowed.
NEED_OWN_UID = {
    "kills_everybody",
    "kills_parent",
    "thread_left_running",
    "thread_never_joins",
    "thread_raises",
}
HONEST = "def add(a, b):\n    return a + b\n"


@pytest.fixture(scope="module", params=["auto", "rlimits"])
def runner(request):
    with Runner(workers=1, isolation=request.param) as runner:
        if request.param == "auto" and runner.isolation != "namespaces":
            pytest.skip("namespaces are refused here")
        yield runner


def read(path: Path, level: str) -> tuple[str, str, list[str]]:
    """The program, its kind and the outcome and subtype it should get at this level."""
    program = path.read_bytes().decode()
    first, second = program.split("\n", 2)[:2]
    kind, *expected, _ = first.removeprefix("# ").split(" | ")
    if level == "rlimits" and second.startswith("# rlimits | "):
        expected = second.removeprefix("# rlimits | ").split(" | ")
    return program, kind, expected


def test_there_are_more_than_forty():
    assert len(FIXTURES) >= 40


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_stated_class(path, runner):
    if runner.isolation == "rlimits" and os.geteuid() != 0 and path.stem in NEED_OWN_UID:
        pytest.skip("without root and namespaces programs share the user's uid")
    program, kind, expected = read(path, runner.isolation)
    seconds = SHORT if expected[-1] == "timeout" else LONG
    [verdict] = runner.run([(program, TESTS[kind])], Limits(seconds=seconds, memory_mb=128))
    assert verdict.wall_seconds < seconds + 1
    assert verdict.passed or expected == ["any"] or expected[0] != "PASSED_TEST", verdict
    if expected != ["any"]:
        outcome, subtype = expected
        assert verdict.outcome is Outcome[outcome], verdict
        assert subtype in ("*", verdict.subtype), verdict
    # The runner survives, no process is left, and the next program finds an empty folder.
    honest = f"# after {path.stem}\nimport os\nassert not os.listdir('.')\n{HONEST}"
    [after] = runner.run([(honest, TESTS["call"])])
    assert after.passed, after
    assert not strays(runner)


def strays(runner: Runner) -> list[str]:
    """Processes below the workers that are not the workers' own."""
    worker = psutil.Process(runner._workers[0]._process.pid)
    found = worker.children(recursive=True)
    if os.geteuid() == 0:  # then programs have a uid of their own
        uid = 61184 + worker.pid % 4336
        found += [
            process
            for process in psutil.process_iter(["uids"])
            if process.info["uids"] and process.info["uids"].real == uid
        ]
    own = {worker, *worker.children()[: runner.isolation == "namespaces"]}  # and its pid 1
    return [str(process) for process in set(found) - own]


def test_a_pass_by_assert_can_be_had_by_an_object_that_lies(runner):
    # The documented weakness of assert scripts, and the reason to prefer `call` tests.
    program = read(Path(__file__).parent / "hostile" / "always_equal.txt", "")[0]
    [by_assert, by_call] = runner.run([(program, TESTS["assert"]), (program, TESTS["call"])])
    assert by_assert.passed
    assert not by_call.passed
