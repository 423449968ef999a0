"""Where randomness comes from: seeds made of names, and the global generators.

Methods draw from the generators they are given. Libraries below them, and dropout, draw from the
global ones: those of torch are seeded anew before every micro-batch, which takes a microsecond;
those of Python and numpy, which would take thirty, are seeded when a stage begins and kept in
checkpoints.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch


def seed_of(*parts: object) -> int:
    """A seed of 63 bits made of anything with a stable text, such as (run seed, name, position)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_torch(seed: int) -> None:
    """Seeds torch's global generators, of the CPU and of the current GPU."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 80 times as long
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)


def seed_everything(seed: int) -> None:
    """Seeds the global generators of torch, numpy and Python."""
    seed_torch(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


def python_state() -> dict[str, Any]:
    """The state of Python's and numpy's global generators, as JSON takes it."""
    name, keys, *rest = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, np.asarray(keys).tolist(), *rest],
    }


def set_python_state(state: dict[str, Any]) -> None:
    """What `python_state` gave."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
