"""Whether data fits into the memory of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from pretrial.data.rows import Stream
from pretrial.errors import UserError


def check_fits(source: str, rows: Stream) -> None:
    """Makes sure that the files of a source are not larger than this machine's memory.

    Args:
        source: its name, as the user gave it.
        rows: of all of it.

    Raises:
        UserError: they are.
    """
    if not Path(source).expanduser().exists():
        return
    size = sum(path.stat().st_size for path in rows.files)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise UserError(
            f"{source} has {size / 1e9:.1f} GB, and this machine {memory / 1e9:.1f} GB of"
            " memory: leave the data on the disk with --data-on-disk, or take a part with --limit"
        )
