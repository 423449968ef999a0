"""Files that are whole or as they were before, whatever happens while they are written."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


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
