"""A trial on a Ray cluster of two machines, one of which dies half-way. About 40 s."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from job_processes import at_work
from ray_nodes import killed_once, two_nodes

from pretrial.compare import record as records
from pretrial.compare.engine import Placement, hold
from pretrial.compare.setting import Setting

pytest.importorskip("ray")
TOYS = Path(__file__).parent / "toy_methods"


@pytest.mark.timeout(240)
def test_trial_on_two_machines_one_killed_half_way(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))
    runs = tmp_path / "runs"
    given = Setting(("line",), {"steps": 120, "sleep": 0.05}, (0,), ("line", "flat"))

    def with_a_checkpoint() -> int | None:
        for process, job in at_work(runs).items():
            if any(job.glob("run/stages/train/step-*")) and not (job / "result.json").exists():
                return process
        return None

    with two_nodes(monkeypatch) as kill, killed_once(kill, with_a_checkpoint) as killed:
        record = hold(given, Placement(runs, on="ray", quiet=True))
    assert killed

    logs = [path.read_text() for path in runs.glob("line/*/log.txt")]
    assert sum("goes on from step" in log for log in logs) >= 1  # on the machine that is left
    here = hold(given, Placement(tmp_path / "here", workers=os.cpu_count() or 1, quiet=True))
    assert records.timeless(record) == records.timeless(here)
