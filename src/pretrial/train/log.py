"""What a run writes down: metrics.jsonl, and optional trackers."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pretrial.errors import UserError, missing_package, nearest
from pretrial.files import disk_explained

Row = Mapping[str, Any]
#: The file in a run's folder.
METRICS = "metrics.jsonl"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; one that is being written is left out.

    A run that has logged nothing has none.
    """
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


class Journal:
    """metrics.jsonl: one JSON object a line, each row once however often the run was stopped.

    A run that is started again passes through what is finished. Until it comes to the newest thing
    on the disk, its rows are in the file already and are dropped; what the file holds after that
    belongs to lost work and is cut off before the first new row.

    Args:
        path: the file.
        known: bytes of the file that belong to finished or saved work.
    """

    def __init__(self, path: Path, known: int) -> None:
        self.path = path
        self.known = known
        self.position = 0
        self._file: Any = None

    def pass_to(self, position: int) -> None:
        """Something finished was passed over; its rows reach up to `position`.

        Without meaning once rows are written: what is found then was made by work that is lost.
        """
        if self.position < self.known:
            self.position = max(position, self.position)

    def go_live(self, position: int | None = None) -> None:
        """Rows are written from now on, after `position` (by default, after what was passed)."""
        if position is not None:
            self.position = position
        self.known = self.position

    def write(self, row: Row) -> bool:
        """Appends a row, unless it is in the file already; tells whether it was new.

        Raises:
            UserError: the disk is full or fails; the row is not in the file then.
        """
        if self.position < self.known:
            return False
        line = (json.dumps(row) + "\n").encode()
        with disk_explained(self.path.parent, len(line)):
            if self._file is None:
                # unbuffered, so that a kill loses no row
                self._file = self.path.open("ab", buffering=0)
                self._file.truncate(self.position)
            if self._file.write(line) != len(line):
                self._file.truncate(self.position)
                raise OSError(errno.ENOSPC, "the row was cut short")
        self.position += len(line)
        return True

    def sync(self) -> int:
        """Puts the file on the disk; its size, for the checkpoint that is about to be written."""
        if self._file is not None:
            with disk_explained(self.path.parent):
                os.fsync(self._file.fileno())
        return self.position

    def close(self) -> None:
        """Closes the file; the next row would open it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def plain(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them: NaN and infinity become null."""
    values = {
        name: value if isinstance(value, (int, str)) else float(value)
        for name, value in numbers.items()
    }
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


class Tracker(Protocol):
    """Where numbers go besides metrics.jsonl."""

    def log(self, numbers: Mapping[str, float], stage: str, step: int) -> None:
        """Takes the numbers of one row."""


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, numbers: Mapping[str, float], stage: str, step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)


class _Online:
    """W&B, and trackio, which has the same calls. Stages restart the step, so it is a number."""

    def __init__(self, package: Any, folder: Path) -> None:
        self.package = package
        package.init(project="pretrial", name=folder.name)

    def log(self, numbers: Mapping[str, float], stage: str, step: int) -> None:
        named = {f"{stage}/{name}": value for name, value in numbers.items()}
        self.package.log({**named, f"{stage}/step": step})


def tracker(name: str, folder: Path) -> Tracker:
    """A tracker by its name: "tensorboard", "wandb" or "trackio".

    Raises:
        UserError: no such tracker, or its package is not installed.
    """
    try:
        if name == "tensorboard":
            return _TensorBoard(folder)
        if name == "wandb":
            import wandb

            return _Online(wandb, folder)
        if name == "trackio":
            import trackio

            return _Online(trackio, folder)
    except ImportError as error:
        raise missing_package(name, "track") from error
    raise UserError(f"there is no tracker {name!r}; try {nearest(name, _TRACKERS)}")


_TRACKERS = ("tensorboard", "wandb", "trackio")


def make_trackers(names: Sequence[str], folder: Path) -> list[Tracker]:
    """All trackers that were asked for."""
    return [tracker(name, folder) for name in names]
