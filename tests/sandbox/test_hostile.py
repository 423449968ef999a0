"""Programs that attack the runner: each gets its stated class and leaves nothing behind.

A fixture in `hostile/` begins with `# kind | OUTCOME | subtype | what it tries`; `*` is any
subtype. A second line `# rlimits | OUTCOME | subtype`, or `any`, says what becomes of it where
namespaces are refused, if that differs.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from pretrial.data.problems import Tests
from pretrial.sandbox import Limits, Outcome, Runner, describe_isolation

FIXTURES = sorted((Path(__file__).parent / "hostile").glob("*.txt"))
SHORT, LONG = 0.25, 5.0  # seconds, for programs that should and should not run out of time
TESTS = {
    "call": Tests("call", "add", ([1, 2], [3, 4]), (3, 7)),
    "stdin": Tests("stdin", inputs=("1 2\n", "3 4\n"), outputs=("3\n", "7\n")),
    "assert": Tests("assert", "add", script="def check(f):\n    assert f(1, 2) == 3\ncheck(add)\n"),
}
# Under a shared uid these reach the user's own processes, or threads are not allowed.
NEED_OWN_UID = {
    "kills_everybody",
    "kills_parent",
    "probes_processes",
    "signals_parent",
    "thread_left_running",
    "thread_never_joins",
    "thread_raises",
}
# What only a filter of system calls prevents.
NEED_FILTER = {
    "lowers_everybodys_priority",
    "lowers_parents_limits",
    "memory_in_keys",
    "memory_in_nameless_files",
    "memory_in_queue",
    "memory_in_segments",
    "pins_parent",
    "traces_itself",
    "uses_io_uring",
}
# Right only if the program before has left nothing behind: no file, limit, priority or module.
HONEST = """
import colorsys, json, math, os, resource

assert not os.listdir(".") and not os.listxattr("."), "something is left"
with open("mine", "w") as file:
    file.write("mine")
assert os.nice(0) == 0
assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 16 << 20
assert len(bytearray(64 << 20)) and math.sqrt(4) == 2 and json.dumps([]) == "[]"


def add(a, b):
    return a + b
"""


@pytest.fixture(scope="module", params=["auto", "rlimits"])
def runner(request):
    with Runner(workers=1, isolation=request.param) as runner:
        if request.param == "auto" and runner.isolation != "namespaces":
            pytest.skip("namespaces are refused here")
        yield runner


@pytest.fixture(scope="module")
def filtered():
    return any("system calls" in layer for layer in describe_isolation("rlimits").layers)


def read(path: Path, level: str) -> tuple[str, str, list[str]]:
    """The program, its kind and the outcome and subtype it should get at this level."""
    program = path.read_bytes().decode()
    first, second = program.split("\n", 2)[:2]
    kind, *expected, _ = first.removeprefix("# ").split(" | ")
    if level == "rlimits" and second.startswith("# rlimits | "):
        expected = second.removeprefix("# rlimits | ").split(" | ")
    return program, kind, expected


def test_there_are_more_than_a_hundred():
    assert len(FIXTURES) > 100


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_stated_class(path, runner, filtered):
    if runner.isolation == "rlimits" and os.geteuid() != 0 and path.stem in NEED_OWN_UID:
        pytest.skip("without root and namespaces programs share the user's uid")
    if path.stem in NEED_FILTER and not filtered:
        pytest.skip("this kernel or machine has no filter of system calls")
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
    [after] = runner.run([(f"# after {path.stem}\n{HONEST}", TESTS["call"])])
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


def test_a_pass_by_assert_can_be_had_by_a_program_that_finds_the_token(runner):
    # Documented as well: the script shares the interpreter, frames and all, with the program.
    find = "import sys\nframe = sys._getframe()\nwhile 'job' not in frame.f_locals:\n"
    program = f"""{find}    frame = frame.f_back
frame.f_locals["report"].finish(frame.f_locals["job"]["token"])
add = None
"""
    [verdict] = runner.run([(program, TESTS["assert"])])
    assert verdict.passed


@pytest.mark.parametrize("isolation", ["auto", "rlimits"])
def test_nothing_runs_on_when_the_worker_is_ended_during_a_run(isolation):
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(1000)\n"
    with Runner(workers=1, isolation=isolation) as runner:
        if runner.isolation == "rlimits" and os.geteuid() != 0:
            pytest.skip("without root a program has no other processes there")
        [worker] = runner._workers
        process = psutil.Process(worker._process.pid)

        def run():
            with pytest.raises(EOFError):  # the runner was closed
                runner.run([(program, TESTS["call"])], Limits(seconds=30.0))

        thread = threading.Thread(target=run)
        thread.start()
        needed = 3 if runner.isolation == "namespaces" else 2
        while len(found := process.children(recursive=True)) < needed:
            time.sleep(0.01)
        runner.close()
        thread.join()
        assert not psutil.wait_procs(found, timeout=5)[1]
