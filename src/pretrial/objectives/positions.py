"""Which place does a token come from? The loss of predicting positions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def position_loss(logits: Tensor, count: float, targets: Tensor | None = None) -> Tensor:
    """Cross-entropy of tokens against their own places, summed and divided by `count`.

    Args:
        logits: of the places, for every token in the order of the places [B, n, n].
        count: tokens.
        targets: probabilities of the places for each token [n, n]; None wants its own place alone.
    """
    batch_size, num = logits.shape[:2]
    flat = logits.flatten(0, 1)
    if targets is None:
        wanted = torch.arange(num, device=logits.device).repeat(batch_size)
    else:
        wanted = targets.repeat(batch_size, 1)
    return cross_entropy(flat, wanted, reduction="sum") / count


def near_targets(grid: tuple[int, int], deviation: Tensor) -> Tensor:
    """Probabilities [n, n] that fall off with the distance from a place in a grid.

    Args:
        grid: height and width in places.
        deviation: standard deviation in places [], above 0.
    """
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack((rows.flatten(), columns.flatten()), 1).to(deviation)
    squares = (places[:, None] - places[None]).square().sum(-1)
    return torch.softmax(-squares / (2 * deviation**2), dim=-1)
