"""Processes forked from a test, with the environment that torchrun gives them.

A fork has everything imported already, so a pair of processes is there in milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import torch


def in_child(work: Callable[[], Any], **environment: str) -> multiprocessing.Process:
    """Starts `work` in a forked process."""

    def start() -> None:
        os.environ.update(environment)
        torch.set_num_threads(1)
        work()

    child = multiprocessing.get_context("fork").Process(target=start)
    child.start()
    return child


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_processes(size: int, work: Callable[[], Any], exitcode: int = 0) -> None:
    """Runs `work` in `size` processes of one machine.

    All of them must end with `exitcode`; the rest is ended as soon as one has ended otherwise.
    """
    port = str(free_port())
    children = [
        in_child(
            work,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(size),
            LOCAL_WORLD_SIZE=str(size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(size)
    ]
    while any(child.is_alive() for child in children):
        time.sleep(0.01)
        if any(child.exitcode not in (None, 0) for child in children):
            time.sleep(0.2)
            for child in children:
                child.kill()
    codes = {child.exitcode for child in children}
    assert codes == {exitcode}, codes
