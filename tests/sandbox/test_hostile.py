"""Programs that attack the runner: each gets its stated class and leaves nothing behind."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil
import pytest
from hostile_programs import FIXTURES, HONEST, TESTS, read, strays, why_not

from pretrial.sandbox import Limits, Runner, describe_isolation
from pretrial.sandbox.limits import WALL_FACTOR
from pretrial.sandbox.tests import Tests

SHORT, LONG = 0.25, 5.0  # seconds, for programs that should and should not run out of time


@pytest.fixture(scope="module", params=["auto", "rlimits"])
def runner(request):
    with Runner(workers=1, isolation=request.param) as runner:
        if request.param == "auto" and runner.isolation != "namespaces":
            pytest.skip("namespaces are refused here")
        yield runner


@pytest.fixture(scope="module")
def isolation(runner):
    return describe_isolation(runner.isolation)


def test_there_are_more_than_a_hundred():
    assert len(FIXTURES) > 100


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_stated_class(path, runner, isolation):
    if reason := why_not(path.stem, isolation):
        pytest.skip(reason)
    hostile = read(path, runner.isolation)
    seconds = SHORT if hostile.subtype == "timeout" else LONG
    limits = Limits(seconds=seconds, memory_mb=128)
    [verdict] = runner.run([(hostile.program, hostile.tests)], limits)
    assert verdict.wall_seconds < WALL_FACTOR * seconds + 1
    assert not hostile.wrong(verdict)
    # The runner survives, no process is left, and the next program finds all as it should be.
    [after] = runner.run([(f"# after {path.stem}\n{HONEST}", TESTS["call"])])
    assert after.passed, after
    assert not strays(runner)


COUNTED = "for n in (1, len([add(1, 1)])):\n    assert add(1, n) == 1 + n\n"
LEFT = Tests("assert", "add", script=COUNTED)
FIND = """import sys
frame = sys._getframe()
while 'job' not in frame.f_locals:
    frame = frame.f_back
frame.f_locals["report"].finish(frame.f_locals["job"]["token"])
add = None
"""


def test_an_object_that_lies_passes_only_what_cannot_be_taken_out_of_a_script(runner):
    # What is left of a script has the documented weakness; tests and verdicts are marked.
    program = read(Path(__file__).parent / "hostile" / "always_equal.txt", "").program
    every = (TESTS["assert"], TESTS["call"], LEFT)
    verdicts = runner.run([(program, tests) for tests in every])
    assert [verdict.passed for verdict in verdicts] == [False, False, True]
    assert [verdict.shares_process for verdict in verdicts] == [False, False, True]
    assert [tests.shares_process for tests in every] == [False, False, True]


def test_a_program_that_finds_the_token_passes_only_what_cannot_be_taken_out(runner):
    # Documented as well: the script shares the interpreter, frames and all, with the program.
    verdicts = runner.run([(FIND, tests) for tests in (TESTS["assert"], LEFT)])
    assert [verdict.passed for verdict in verdicts] == [False, True]


@pytest.mark.parametrize("level", ["auto", "rlimits"])
def test_nothing_runs_on_when_the_worker_is_ended_during_a_run(level):
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(1000)\n"
    with Runner(workers=1, isolation=level) as runner:
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
