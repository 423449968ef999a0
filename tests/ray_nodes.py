"""A Ray cluster of two machines on this one, of which one can be made to die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Joins a cluster of a head without cores and two workers with one core each.

    Yields a function that kills one worker, with all its processes.
    """
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_health_check_failure_threshold", "2")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield lambda: made.remove_node(nodes[0], allow_graceful=False)
    finally:
        ray.shutdown()
        made.shutdown()


@contextmanager
def killed_once(kill: Callable[[], None], ready: Callable[[], bool]) -> Iterator[list[bool]]:
    """Kills beside the block as soon as `ready` says so; the list tells whether it came to that."""
    killed: list[bool] = []

    def work() -> None:
        deadline = time.monotonic() + 60
        while not ready():
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        kill()
        killed.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    yield killed
    thread.join()
