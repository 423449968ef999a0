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
    assert verdict.wall_seconds < seconds + 1
    assert not hostile.wrong(verdict)
    # The runner survives, no process is left, and the next program finds all as it should be.
    [after] = runner.run([(f"# after {path.stem}\n{HONEST}", TESTS["call"])])
    assert after.passed, after
    assert not strays(runner)


def test_a_pass_by_assert_can_be_had_by_an_object_that_lies(runner):
    # The documented weakness of assert scripts, and the reason to prefer `call` tests.
    program = read(Path(__file__).parent / "hostile" / "always_equal.txt", "").program
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
