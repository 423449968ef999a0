"""Images as tiles of the size that a vision model reads, at their own shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

# of CLIP's preprocessing
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def best_grid(width: int, height: int, size: int, max_tiles: int) -> tuple[int, int]:
    """Columns and rows of tiles that keep most of an image's pixels, and waste the fewest others.

    Args:
        width: of the image, in pixels.
        height: of the image.
        size: of a tile, which is square.
        max_tiles: in the grid.
    """

    def quality(grid: tuple[int, int]) -> tuple[int, int]:
        scale = min(grid[0] * size / width, grid[1] * size / height)
        kept = min(math.floor(width * scale) * math.floor(height * scale), width * height)
        return kept, kept - grid[0] * grid[1] * size * size

    grids = [(c, r) for c in range(1, max_tiles + 1) for r in range(1, max_tiles // c + 1)]
    return max(grids, key=quality)


def tiles(image: Any, size: int, max_tiles: int) -> Tensor:
    """The whole image as one tile, then the parts of a larger one, row by row.

    Args:
        image: as `data.media.image.open_image` gives it.
        size: of a tile.
        max_tiles: parts; 0 or 1 gives the whole alone.

    Returns:
        Normalised as CLIP has it [1 + parts, 3, size, size].
    """
    found = [image.resize((size, size))]
    columns, rows = (
        best_grid(image.width, image.height, size, max_tiles) if max_tiles > 1 else (1, 1)
    )
    if columns * rows > 1:
        scale = min(columns * size / image.width, rows * size / image.height)
        fitted = image.resize(
            (max(1, math.floor(image.width * scale)), max(1, math.floor(image.height * scale)))
        )
        # black borders fill the grid
        whole = fitted.crop((0, 0, columns * size, rows * size))
        found += [
            whole.crop((c * size, r * size, (c + 1) * size, (r + 1) * size))
            for r in range(rows)
            for c in range(columns)
        ]
    pixels = torch.from_numpy(np.stack([np.asarray(tile) for tile in found])).float() / 255
    normal = (pixels - torch.tensor(MEAN)) / torch.tensor(STD)  # [N, size, size, 3]
    return normal.permute(0, 3, 1, 2).contiguous()
