"""The temporary folder of a worker, and what becomes of it when its host is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile

from pretrial.sandbox.inside import folders

PREFIX = "pretrial-sandbox-"


class Scratch:
    """A new folder, locked for as long as its process lives, however that ends."""

    def __init__(self) -> None:
        while True:
            self.path = tempfile.mkdtemp(prefix=PREFIX)
            with contextlib.suppress(FileNotFoundError):
                self._lock = _open(self.path)
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(self._lock, fcntl.LOCK_EX)
                if os.path.isdir(self.path):  # nobody swept it before it was locked
                    return
                os.close(self._lock)

    def remove(self) -> None:
        """Remove the folder, as far as its content can be deleted."""
        with contextlib.suppress(OSError):
            folders.empty_folder(self.path)
            os.rmdir(self.path)
        os.close(self._lock)


def sweep() -> None:
    """Remove what killed processes have left: folders of our name and user that nobody locks."""
    with os.scandir(tempfile.gettempdir()) as entries:
        paths = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    for path in paths:
        # RecursionError: a program nested its folders too deeply for rmtree.
        with contextlib.suppress(OSError, RecursionError):
            lock = _open(path)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
