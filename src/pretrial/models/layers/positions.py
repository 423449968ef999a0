"""Fixed positions of a grid of patches."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Sines and cosines of the column, then of the row, as MAE has them [1, 1 + n, width].

    The class token's, which stands first, is 0. transformers' ViTMAE, built from a config, has
    positions of 0 everywhere (seen in 5.23), and a model trained so cannot tell places.

    Args:
        grid: height and width in patches.
        width: a multiple of four.
    """
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float64),
        torch.arange(grid[1], dtype=torch.float64),
        indexing="ij",
    )
    quarter = width // 4
    rates = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    parts = []
    for places in (columns.flatten(), rows.flatten()):
        angles = places[:, None] * rates
        parts += [angles.sin(), angles.cos()]
    found = torch.cat(parts, dim=1).float()  # [n, width]
    return torch.cat((torch.zeros(1, width), found))[None]
