"""A trial on a Ray cluster of two machines, one of which dies half-way. About 40 s."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from pretrial.compare import record as records
from pretrial.compare.engine import Where, hold
from pretrial.compare.setting import Setting

ray = pytest.importorskip("ray")
TOYS = Path(__file__).parent / "toy_methods"


@pytest.fixture
def cluster(monkeypatch):
    """A head without cores and two workers with one core each, on this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))
    monkeypatch.setenv("RAY_health_check_failure_threshold", "2")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def kill_one_worker(made, nodes, runs: Path, killed: list[bool]) -> None:
    """Once a job has a checkpoint, the machine that runs it is gone, with its processes."""
    deadline = time.monotonic() + 60
    while not list(runs.glob("line/*/run/stages/train/step-*")):
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    made.remove_node(nodes[0], allow_graceful=False)
    killed.append(True)


@pytest.mark.timeout(240)
def test_trial_on_two_machines_one_killed_half_way(cluster, tmp_path) -> None:
    made, nodes = cluster
    runs = tmp_path / "runs"
    given = Setting(("line",), {"steps": 60, "sleep": 0.05}, (0,), ("line", "flat"))
    killed: list[bool] = []
    killer = threading.Thread(target=kill_one_worker, args=(made, nodes, runs, killed))
    killer.start()
    record = hold(given, Where(runs, on="ray", quiet=True))
    killer.join()
    assert killed

    logs = [path.read_text() for path in runs.glob("line/*/log.txt")]
    assert sum("goes on from step" in log for log in logs) >= 1  # on the machine that is left
    here = hold(given, Where(tmp_path / "here", workers=os.cpu_count() or 1, quiet=True))
    assert records.timeless(record) == records.timeless(here)
