"""Images as tiles of the size that a vision model reads, at their own shape."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrial.errors import UserError, missing_package

# of CLIP's preprocessing
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def open_image(value: Any) -> Any:
    """An RGB image of Pillow, from a path, from bytes, or from what data sets give.

    Raises:
        UserError: it is none of these, there is no such file, or it holds no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        raise missing_package("pillow", "vision") from None
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    if isinstance(value, dict):  # an image of the datasets library, not decoded
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        value = io.BytesIO(value)
    elif not isinstance(value, (str, Path)):
        raise UserError(f"an image is a path or an image, not a {type(value).__name__}: name one")
    try:
        with Image.open(value) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"there is no image {value}: check the path") from None
    except UnidentifiedImageError:
        raise UserError(f"{value} holds no image that can be read: convert it to PNG") from None


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
        image: of Pillow, RGB.
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
