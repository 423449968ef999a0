"""Taking a run's folder for one process, until it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pretrial.errors import UserError
from pretrial.files import disk_explained

_locks: dict[Path, int] = {}


def claim(folder: Path) -> None:
    """Makes a run's folder and takes it for this process, until it ends, however it ends.

    Raises:
        UserError: another process has it, or the disk is full or fails.
    """
    with disk_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder.resolve() / ".lock"
        held = _locks.get(path)
        if held is not None:
            if path.exists() and os.fstat(held).st_ino == path.stat().st_ino:
                return
            os.close(_locks.pop(path))
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        # a POSIX lock: children do not inherit it, and its end is this process's end
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(handle, 32).decode()
        os.close(handle)
        raise UserError(
            f"the run folder {folder} is in use by process {owner or 'unknown'}: wait for it to"
            " end, or give another folder"
        ) from error
    _locks[path] = handle
    with disk_explained(folder):
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())


def holder(folder: Path) -> int:
    """The process of this machine that has a run's folder now, 0 where none has."""
    try:
        owner = int((folder / ".lock").read_text())
        os.kill(owner, 0)
    except PermissionError:  # another user's
        return owner
    except (OSError, ValueError):
        return 0
    return owner


def release(folder: Path) -> None:
    """Lets go of a folder that this process has claimed."""
    held = _locks.pop(folder.resolve() / ".lock", None)
    if held is not None:
        os.close(held)
