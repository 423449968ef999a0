"""Deleting what programs leave in their folder. Shared by the host and the worker."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time


def empty_folder(folder: str, seconds: float = math.inf) -> bool:
    """Delete what is in `folder`, as far as it can be deleted in this time.

    Not by recursion, as `shutil.rmtree` does it: a program may nest folders deeper than the stack
    goes and than paths may be long. Folders within a folder are moved up to `folder` first.

    Returns:
        Whether the folder is empty now.
    """
    deadline = time.monotonic() + seconds
    fresh, removed = itertools.count(), True
    while removed and (names := os.listdir(folder)):
        removed = False
        for name in names:
            if time.monotonic() > deadline:
                return False
            with contextlib.suppress(OSError):
                _remove(os.path.join(folder, name), folder, fresh)
                removed = True
    return not os.listdir(folder)


def _remove(path: str, folder: str, fresh: itertools.count[int]) -> None:
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return
    os.chmod(path, 0o700)
    for inner in os.listdir(path):
        os.rename(os.path.join(path, inner), f"{folder}/.moved-{os.getpid()}-{next(fresh)}")
    os.rmdir(path)
