"""Images turned, scaled and moved on a larger canvas: what a look at single pixels cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.rows import Row
from pretrial.errors import UserError, missing_package

_SCALE = 0.15  # by which an image is made smaller or larger, at most


def moved(
    rows: Sequence[Row], size: int, turn: float, shift: float, copies: int = 1, seed: int = 0
) -> list[Row]:
    """Copies of images on a black canvas, each turned, scaled and moved another way.

    Args:
        rows: with `image`, grey (uint8 [height, width]).
        size: height and width of the canvas in pixels.
        turn: degrees that an image is turned by, at most, either way.
        shift: pixels that it is moved by from the middle, at most, in each direction.
        copies: of each image.
        seed: of turns, scales and places.

    Returns:
        All rows once, then all of them again, with their other fields as they were, and `original`,
        the number of the row that one is a copy of.

    Raises:
        UserError: a number is out of range, or scipy is not installed.
    """
    if size < 1 or copies < 1 or turn < 0 or shift < 0:
        raise UserError(
            f"size {size} and copies {copies} must be at least 1, turn {turn:g} and shift"
            f" {shift:g} at least 0"
        )
    rng = np.random.default_rng(seed)
    return [
        {**row, "image": _move(np.asarray(row["image"]), size, turn, shift, rng), "original": place}
        for _ in range(copies)
        for place, row in enumerate(rows)
    ]


def _move(
    image: NDArray[Any], size: int, turn: float, shift: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One image [height, width] on a canvas [size, size]."""
    try:
        from scipy.ndimage import affine_transform
    except ModuleNotFoundError as error:
        raise missing_package("scipy", "trial") from error
    angle, scale = np.deg2rad(rng.uniform(-turn, turn)), 1 + rng.uniform(-_SCALE, _SCALE)
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = (size - 1) / 2 + rng.uniform(-shift, shift, 2)
    # pixel p of the canvas is taken from back @ (p - middle) + the image's own middle
    offset = (np.array(image.shape) - 1) / 2 - back @ middle
    found = affine_transform(image.astype(float), back, offset, (size, size), order=1)
    return found.round().astype(np.uint8)
