"""A Ray cluster of two machines on this one, of which one can be made to die."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from job_processes import wait_for

Kill = Callable[[int], None]


@contextmanager
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kill]:
    """Joins a cluster of a head without cores and two workers with one core each.

    Yields a function that kills the worker on which a process runs, or the first one where it runs
    on neither, with all its processes.
    """
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_health_check_failure_threshold", "2")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    ray.init(address=made.address, log_to_driver=False)

    def kill(process: int) -> None:
        around = [raylets[above] for above in _line(process) if above in raylets]
        made.remove_node((around or nodes)[0], allow_graceful=False)

    try:
        yield kill
    finally:
        ray.shutdown()
        made.shutdown()


def _line(process: int) -> Iterator[int]:
    """The process, its parent, its parent's parent and so on."""
    while process > 1:
        yield process
        stat = Path(f"/proc/{process}/stat").read_text()
        process = int(stat.rpartition(")")[2].split()[1])


@contextmanager
def killed_once(kill: Kill, victim: Callable[[], int | None]) -> Iterator[list[bool]]:
    """Kills beside the block as soon as `victim` names a process; the list tells if it did."""
    killed: list[bool] = []

    def work() -> None:
        kill(wait_for(victim))
        killed.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    yield killed
    thread.join()
