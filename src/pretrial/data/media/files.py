"""Files that are a row each, told apart by their name: images, recordings, and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pretrial.data.rows import Row

Medium = Literal["image", "audio", "text"]

_SUFFIXES: dict[Medium, frozenset[str]] = {
    "image": frozenset(
        {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
    ),
    "audio": frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus"}),
}


def medium_of(path: Path) -> Medium:
    """What the name says that the file holds."""
    suffix = path.suffix.lower()
    return next((medium for medium, known in _SUFFIXES.items() if suffix in known), "text")


def media_row(path: Path, medium: Medium, root: Path) -> Row:
    """The row of an image or a recording: its path as `image` or `audio`, `path` below `root`, and
    as `label` the folder that it lies in, where that is not `root`."""
    row = {medium: str(path), "path": path.relative_to(root).as_posix()}
    return row if path.parent == root else row | {"label": path.parent.name}
