"""Programs on a Ray cluster of two machines, one of which dies meanwhile. About 40 s."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from ray_nodes import killed_once, two_nodes

from pretrial.errors import UserError
from pretrial.sandbox import ClusterRunner, Limits, Outcome, Runner, Verdict, runner_on
from pretrial.sandbox.tests import Tests

pytest.importorskip("ray")
DOUBLE = Tests("call", function="double", inputs=([1], [5]), outputs=(2, 10))
PRINT = Tests("stdin", inputs=("3\n",), outputs=("9\n",))
PROGRAMS = [
    ("def double(x):\n    return 2 * x\n", DOUBLE),
    ("def double(x):\n    return x * x + 1\n", DOUBLE),
    ("def double(x):\n    return x / 0\n", DOUBLE),
    ("def double(x)\n", DOUBLE),
    ("print(int(input()) ** 2)\n", PRINT),
    ("import sys\nsys.exit(3)\n", PRINT),
]
# each of them another program, and slow enough that a machine can die in between
JOBS = [
    (f"import time\ntime.sleep(0.1)\nnumber = {number}\n{program}", tests)
    if "(x)\n" not in program or ":" in program
    else (f"number = {number}\n{program}", tests)
    for number in range(8)
    for program, tests in PROGRAMS
]


def timeless(verdict: Verdict) -> Verdict:
    return replace(verdict, cpu_seconds=0.0, wall_seconds=0.0)


@pytest.mark.timeout(240)
def test_programs_on_two_machines_one_killed_meanwhile(monkeypatch) -> None:
    seen: list[tuple[int, int]] = []
    limits = Limits(seconds=20)

    def begun() -> int | None:
        return os.getpid() if seen else None

    with two_nodes(monkeypatch) as kill, killed_once(kill, begun) as killed:
        with ClusterRunner() as runner:
            verdicts = runner.run(JOBS, limits, lambda *counts: seen.append(counts))
        with pytest.raises(UserError, match="compare must be"):
            ClusterRunner(compare="loosely")  # type: ignore[arg-type]
    assert killed
    assert len(seen) > 4
    assert seen[-1] == (len(JOBS), len(JOBS))
    with Runner() as here:
        expected = here.run(JOBS, limits)
        assert runner.isolation == here.isolation
    assert [timeless(verdict) for verdict in verdicts] == [timeless(v) for v in expected]
    assert {verdict.outcome for verdict in verdicts} == {*Outcome} - {Outcome.UNTESTED}


def test_several_processes_need_one_cluster(monkeypatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="set RAY_ADDRESS"):
        runner_on("ray", processes=2)
