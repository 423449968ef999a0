"""Which isolation is to be had on this machine: the best level, and what it consists of."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

from pretrial.errors import UserError, nearest
from pretrial.sandbox.host import RefusedError, Worker

LEVELS = ("namespaces", "rlimits", "none")  # best first

# What a level leaves open, for people who have to decide whether to run strangers' programs on it.
OPEN = {
    "namespaces": "programs share the kernel and the processor caches with this machine",
    "rlimits": "programs can use the network, and read and write what everybody may read and write",
    "none": "programs have all the rights of the user who runs them; only time is limited",
}


@dataclass(frozen=True)
class Isolation:
    """What stands between programs and this machine.

    Attributes:
        level: `namespaces`, `rlimits` or `none`.
        layers: what is in force.
        open: what is not prevented.
        refused: why no better level is in use; "" if there is none or none was tried.
    """

    level: str
    layers: tuple[str, ...]
    open: str
    refused: str = ""

    def __str__(self) -> str:
        lines = [f"isolation: {self.level}", *(f"  + {layer}" for layer in self.layers)]
        lines.append(f"  - {self.open}")
        if self.refused:
            lines.append(f"  - {self.refused}")
        return "\n".join(lines)


def check_level(level: str) -> None:
    """Raise UserError unless `level` is "auto" or the name of a level."""
    if level not in ("auto", *LEVELS):
        raise UserError(f"isolation must be auto or one of: {nearest(level, LEVELS)}")


def start_best(level: str = "auto", preamble: str = "", **room: Any) -> Worker:
    """A started worker at `level`; for "auto" at the best level to be had, never at `none`.

    Warns of what programs can do at `none`, and of a level below the best that nobody named.

    Args:
        level: "auto" or one of `LEVELS`.
        preamble: see `Worker`.
        **room: what else `Worker` takes.

    Raises:
        UserError: the level is refused here; the message says what is left.
    """
    worker, refused = _start(level, preamble, **room)
    if level == "none":
        warnings.warn(f"isolation none: {_left_open(worker)}", stacklevel=3)
    elif refused:
        words = f"{refused}; isolation {worker.isolation}: {_left_open(worker)}"
        warnings.warn(words, stacklevel=3)
    return worker


def describe_isolation(level: str = "auto") -> Isolation:
    """What isolation programs would get here. Prints as a short list.

    Raises:
        UserError: as `start_best`.
    """
    check_level(level)
    worker, refused = _start(level, "")
    worker.close()
    return Isolation(worker.isolation, tuple(worker.layers), _left_open(worker), refused)


def _left_open(worker: Worker) -> str:
    left = OPEN[worker.isolation]
    if worker.isolation == "rlimits" and os.geteuid() != 0:
        left += "; they run as your own user, with your files and processes within reach"
    return left


def _start(level: str, preamble: str, **room: Any) -> tuple[Worker, str]:
    if os.name != "posix":
        raise UserError(
            "programs are run in forked processes: use Linux or macOS (or WSL on Windows)"
        )
    refused = []
    for name in LEVELS[:2] if level == "auto" else (level,):
        worker = Worker(name, preamble, **room)
        try:
            worker.start()
        except RefusedError as error:
            worker.close()
            refused.append(f"{name} refused: {error}")
        else:
            return worker, "; ".join(refused)
    raise UserError(
        f"this isolation is not to be had here ({'; '.join(refused)}): see what is left with "
        "describe_isolation(), or pass isolation='none' to run programs with all your rights"
    )
