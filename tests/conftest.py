"""Every test runs on one thread, without the network, and the same way each time."""

from __future__ import annotations

import os
import random
import socket
from typing import Any

# Before torch is imported; processes that tests start inherit them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

_LOOPBACK = ("127.", "::1", "localhost")


def _refuse_outside(name: str) -> Any:
    real = getattr(socket.socket, name)

    def guarded(self: socket.socket, address: Any) -> Any:
        inside = self.family not in (socket.AF_INET, socket.AF_INET6)
        if inside or str(address[0]).startswith(_LOOPBACK):
            return real(self, address)
        raise RuntimeError(f"a test tried to reach {address}: tests run offline")

    return guarded


@pytest.fixture(autouse=True, scope="session")
def _offline() -> Any:
    """Lets no socket of this process out of the machine."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _refuse_outside(name))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Starts each test from the same random state."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
