"""The confusion matrix of a classifier as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrial.errors import UserError, missing_package

_MOST_WRITTEN = 20  # classes whose cells have room for a number


def draw_confusion(counts: NDArray[np.int64], names: Sequence[str], folder: Path) -> Path:
    """Draws how often each class is taken for which, and gives the file.

    Args:
        counts: right class [row], guess [column].
        names: of the classes.
        folder: where confusion.png is put; it is made.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing_package("matplotlib", "trial") from error
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 3.0 + 0.35 * len(names)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    if len(names) <= _MOST_WRITTEN:
        for row, column in np.argwhere(counts > 0):
            dark = shares[row, column] > 0.5
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    path = folder / "confusion.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}): give another --plots") from error
    return path
