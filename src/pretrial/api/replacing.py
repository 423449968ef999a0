"""Training anew in the folder of a run, so that nothing is lost by a mistake."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrial.api import runs
from pretrial.errors import UserError
from pretrial.train import distributed
from pretrial.train.claim import claim, release


def kept_aside(folder: Path) -> Path:
    """Where the run of a folder stands until the one that replaces it is finished."""
    return folder.with_name(f"{folder.name}.replaced")


def is_replacing(folder: Path) -> bool:
    """Whether the folder holds a run that has begun to replace another, and is not finished."""
    return kept_aside(folder).is_dir() and runs.has_begun(folder) and not runs.is_finished(folder)


@contextmanager
def replacing(folder: Path) -> Iterator[None]:
    """Inside the block the folder is free; the run that was there is deleted at its end.

    Where the block fails before a run has begun in the folder, the one that was there is put back.
    Where it fails later, both are kept, and with the folder as it is the block can be entered again
    to go on. All processes must enter together.

    Raises:
        UserError: the folder holds something else than a run, or a run is kept aside already.
    """
    world, aside = distributed.join(), kept_aside(folder)
    world.on_first(lambda: _move(folder, aside))
    try:
        yield
    except BaseException:
        if world.is_first and aside.is_dir() and not runs.has_begun(folder):
            release(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(aside, folder)
        raise
    world.on_first(lambda: shutil.rmtree(aside, ignore_errors=True))


def check_goes_on(record: runs.Record, folder: Path) -> None:
    """Makes sure that a run which has begun to replace another is gone on with as it began.

    Raises:
        UserError: this command asks for another run.
    """
    if record.difference(runs.Record.read(folder)) is not None:
        aside = kept_aside(folder)
        raise UserError(
            f"{folder} holds a run with other options that was stopped while it replaced {aside}:"
            f" finish it with its own command, or delete {folder} and rename {aside} to it"
        )


def _move(folder: Path, aside: Path) -> None:
    if is_replacing(folder) or not folder.exists():
        return
    if not (folder.is_dir() and (folder / runs.NAME).is_file()):
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise UserError(
            f"{folder} holds no run (no {runs.NAME}), so --overwrite leaves it alone: give another"
            " --out"
        )
    if aside.exists():
        raise UserError(
            f"{aside} still holds a run that was to be replaced: move or delete it, then run the"
            " same command again"
        )
    claim(folder)  # another process may be training there
    release(folder)
    os.replace(folder, aside)
