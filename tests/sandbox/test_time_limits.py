"""Time limits are of the processor: a busy machine changes no verdict, and waiting has an end."""

from __future__ import annotations

import multiprocessing
import sys
import time

import pytest

from pretrial.sandbox.inside import clock
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.runner import Runner, run_programs
from pretrial.sandbox.tests import Tests

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's clocks of processes")
SCRIPT = "assert add(1, 2) == 3"
ADD = "def add(a, b):\n    return a + b\n"
SECONDS = 0.5


def working(seconds: float) -> str:
    """A right program that first needs the processor for so long."""
    return (
        "import time\nbegan = time.process_time()\n"
        f"while time.process_time() - began < {seconds}:\n    pass\n{ADD}"
    )


def sleeping(seconds: float) -> str:
    return f"import time\ntime.sleep({seconds})\n"


def busy() -> None:
    while True:
        pass


@pytest.fixture
def crowd():
    """Twelve processes that want the processor all the time."""
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=busy, daemon=True) for _ in range(12)]
    for process in others:
        process.start()
    yield
    for process in others:
        process.kill()
        process.join()


PROGRAMS = {
    "at once": (ADD, ""),
    "most of its time": (working(0.7 * SECONDS), ""),
    "too much": (working(1.6 * SECONDS), "timeout"),
    "without an end": ("while True: pass", "timeout"),
    "a short sleep": (sleeping(0.5 * SECONDS) + ADD, ""),
    "a long sleep": (sleeping(100) + ADD, "timeout"),
    "many short sleeps": ("import time\nwhile True: time.sleep(0.01)", "timeout"),
    "a sleep, then work": (sleeping(0.8 * SECONDS) + working(0.3 * SECONDS), ""),
}


@linux
def test_a_busy_machine_gives_the_same_verdicts(crowd):
    jobs = [(program, SCRIPT) for program, _ in PROGRAMS.values()]
    verdicts = run_programs(jobs, limits=Limits(seconds=SECONDS), workers=2)
    found = dict(zip(PROGRAMS, (verdict.subtype for verdict in verdicts), strict=True))
    assert found == {name: subtype for name, (_, subtype) in PROGRAMS.items()}


@linux
def test_who_waits_is_ended_by_the_clock_and_once():
    began = time.monotonic()
    [verdict] = run_programs([(sleeping(100), SCRIPT)], limits=Limits(seconds=SECONDS), workers=1)
    assert verdict.subtype == "timeout"
    assert SECONDS <= verdict.wall_seconds < 4 * SECONDS
    assert time.monotonic() - began < 20


@linux
def test_the_time_is_for_all_runs_of_a_program_together():
    program = working(0.6 * SECONDS) + "print(input())\n"
    tests = Tests("stdin", "", ("1\n", "2\n"), ("1\n", "2\n"))
    with Runner(workers=1) as runner:
        [both] = runner.run([(program, tests)], Limits(seconds=SECONDS))
        [one] = runner.run([(program, tests)], Limits(seconds=2 * SECONDS))
    assert both.subtype == "timeout"
    assert both.tests == (True, False)
    assert one.passed


@linux
def test_the_clock_of_a_process_is_its_own():
    context = multiprocessing.get_context("fork")
    process = context.Process(target=busy, daemon=True)
    process.start()
    try:
        before = clock.processor_seconds(process.pid)
        deadline = time.monotonic() + 20
        while clock.processor_seconds(process.pid) < before + 0.05:
            assert time.monotonic() < deadline
    finally:
        process.kill()
        process.join()
    assert clock.processor_seconds(process.pid) is None


def test_without_such_a_clock_time_is_by_the_wall(monkeypatch):
    monkeypatch.setattr(clock, "processor_seconds", lambda pid: None)
    watched = clock.Clock(1, 0.05, 1.0)
    began = time.monotonic()
    while watched.left() > 0:
        time.sleep(0.005)
    assert 0.04 < time.monotonic() - began < 0.9


def test_one_that_has_the_processor_now_and_then_ends_with_its_wall_time(monkeypatch):
    used = iter(range(1, 10_000))
    monkeypatch.setattr(clock, "processor_seconds", lambda pid: next(used) * 0.04)
    now = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    watched = clock.Clock(1, 10.0, 30.0)
    while (left := watched.left()) > 0:
        now[0] += left
    assert now[0] == pytest.approx(130.0)
