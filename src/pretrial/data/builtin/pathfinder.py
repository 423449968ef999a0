"""Images like those of Pathfinder: are two dots the ends of one dashed path? (Linsley, 1805.08315)

Each image has two long dashed paths, some short ones, and two dots. The dots end the same path or
different ones; nothing but following the dashes tells. As a sequence of pixels, row after row, the
dashes of a path lie far apart.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pretrial.data.rows import Row
from pretrial.errors import UserError

_TURN = 0.35  # standard deviation of a step's change of direction, in radians
_DASH, _GAP = 3, 1  # pixels
_WHITE, _GREY = 255, 170  # of dots and of dashes
_MOST_TRIES = 200

Cells = list[tuple[int, int]]


def pathfinder(
    num_rows: int,
    *,
    size: int = 16,
    path_length: int = 0,
    num_distractors: int = 2,
    seed: int = 0,
) -> list[Row]:
    """Rows with `image` (uint8 [size, size]), `label` (1 for one path, 0 for two) and `number`.

    Args:
        num_rows: how many; every other one has the label 1.
        size: pixels of a side.
        path_length: steps of the two long paths; 0 is 2 / 3 of `size`.
        num_distractors: short paths, as many as find room.
        seed: of the draws.

    Raises:
        UserError: the paths do not fit.
    """
    length = path_length or 2 * size // 3
    if size < 12 or not 5 <= length <= 2 * size:
        raise UserError(
            f"Pathfinder needs a size of 12 or more and a path_length from 5 to twice the size, not"
            f" {size} and {length}"
        )
    rng = np.random.default_rng([seed, size, length, num_distractors])
    return [
        {
            "image": _image(rng, size, length, num_distractors, one_path=bool(number % 2)),
            "label": number % 2,
            "number": number,
        }
        for number in range(num_rows)
    ]


def _image(
    rng: np.random.Generator, size: int, length: int, num_distractors: int, *, one_path: bool
) -> NDArray[np.uint8]:
    for _ in range(_MOST_TRIES):
        taken = np.zeros((size, size), dtype=bool)
        paths = [_path(rng, taken, length) for _ in range(2)]
        if all(paths):
            break
    else:
        raise UserError(
            f"two paths of {length} steps find no room on {size}x{size} pixels: lower path_length"
        )
    short = [_path(rng, taken, length // 3) for _ in range(num_distractors)]
    image = np.zeros((size, size), dtype=np.uint8)
    for path in (*paths, *short):
        for place, cell in enumerate(path):
            if place % (_DASH + _GAP) < _DASH:
                image[cell] = _GREY
    for row, column in (paths[0][0], paths[0][-1] if one_path else paths[1][-1]):
        image[row - 1 : row + 2, column] = _WHITE
        image[row, column - 1 : column + 2] = _WHITE
    return image


def _path(rng: np.random.Generator, taken: NDArray[np.bool_], length: int) -> Cells:
    """The pixels of a smooth path that comes near no other, which are then taken; [] if stuck."""
    size = len(taken)
    for _ in range(_MOST_TRIES):
        place = rng.uniform(2, size - 3, 2)
        angle = rng.uniform(0, 2 * math.pi)
        cells: Cells = []
        while len(cells) < length:
            cell = (round(place[0]), round(place[1]))
            if not (cells and cell == cells[-1]):
                if not _is_free(cell, taken, cells):
                    break
                cells.append(cell)
            angle += rng.normal(0, _TURN)
            place += np.array([math.sin(angle), math.cos(angle)])
        if len(cells) == length:
            for row, column in cells:
                taken[row - 2 : row + 3, column - 2 : column + 3] = True
            return cells
    return []


def _is_free(cell: tuple[int, int], taken: NDArray[np.bool_], cells: Cells) -> bool:
    """Inside a margin of two pixels, near no other path and not back at its own beginning."""
    if not all(2 <= place < len(taken) - 2 for place in cell) or taken[cell]:
        return False
    return all(max(abs(cell[0] - r), abs(cell[1] - c)) > 1 for r, c in cells[:-2])
