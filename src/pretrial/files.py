"""Files that are whole or as they were before, and what to do where a disk is full or fails."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from safetensors import SafetensorError

from pretrial.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (errno.EIO, errno.EROFS)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file to write UTF-8 text to, which takes its name once all of it is on the disk.

    It may be written by several at once: each has a file of its own, and the last one stays.

    Args:
        path: in a folder that there is.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".partial-{path.name}.{threading.get_native_id()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a text as a file that is whole or as before; see `whole_file`."""
    with whole_file(path) as file:
        file.write(text)


@contextmanager
def disk_explained(folder: Path, need: int = 0) -> Iterator[None]:
    """Turns what a full or failing disk says into a UserError.

    Args:
        folder: on that disk.
        need: bytes that are to be written, where known.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors writes in Rust and reports the system's error as text only
        codes = re.findall(r"(?:os error|code:) (\d+)", str(error))
        code = error.errno if isinstance(error, OSError) else int(codes[0]) if codes else None
        if code in _BROKEN:
            raise UserError(
                f"the disk of {folder} fails ({os.strerror(code)}): what is finished is kept; run"
                " the same command again once the disk works, or copy the folder to another"
            ) from error
        if code not in _FULL:
            raise
        free = shutil.disk_usage(_existing(folder)).free
        wanted = f"{_size(need)} are needed and" if need else "only"
        raise UserError(
            f"the disk of {folder} is full ({wanted} {_size(free)} are free): free some space and"
            " run the same command again"
        ) from error


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:,.1f} kB"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
