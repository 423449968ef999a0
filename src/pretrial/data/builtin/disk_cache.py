"""Values that are dear to compute and cheap to read, kept on disk between processes.

They lie in `$XDG_CACHE_HOME/pretrial`, or ~/.cache/pretrial. Nothing is lost with that folder: what
is missing, damaged or cannot be written is computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrial.files import write_whole


def cached(name: str, parts: Any, make: Callable[[], Any]) -> Any:
    """The value of `make`, read from disk if it was computed from equal parts before.

    Args:
        name: of the file; a value from other parts takes the place of the one before.
        parts: plain values, on all of which the value depends, the code that makes it too.
        make: gives plain values, as JSON can hold them.
    """
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    path = folder() / f"{name}.json"
    with contextlib.suppress(OSError, ValueError), path.open(encoding="utf-8") as file:
        if file.readline().strip() == key:  # the value is not read if it is another's
            return json.loads(file.read())
    value = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{key}\n{json.dumps(value)}")
    return value


def folder() -> Path:
    """Where values are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pretrial"
