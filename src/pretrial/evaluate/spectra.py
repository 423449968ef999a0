"""What weights and layers are like: effective ranks, and how alike the layers' outputs are.

They tell of any network of transformers what a change of its layers, a merge or a low rank did to
it, whatever it was trained for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def effective_rank(matrix: Tensor) -> float:
    """The exponential of the entropy of the singular values' shares (Roy and Vetterli 2007).

    Args:
        matrix: [m, n]; it is 1 where all rows are multiples of one, and min(m, n) where all
            singular values are equal. An empty spectrum, of zeros, has 0.
    """
    values = torch.linalg.svdvals(matrix.detach().float())
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())


@torch.no_grad()
def layer_similarity(network: Any, windows: Sequence[Sequence[int]]) -> Tensor:
    """Mean cosine over tokens of the hidden states of each pair of layers [L, L].

    Args:
        network: a causal language model of transformers; its mode is the caller's.
        windows: token ids, one forward pass each; there must be some.
    """
    total, count = torch.zeros(()), 0
    for window in windows:
        ids = torch.tensor([list(window)], device=network.device)
        found = network.base_model(input_ids=ids, output_hidden_states=True, use_cache=False)
        states = torch.stack(found.hidden_states[1:]).squeeze(1)  # [L, T, d]
        unit = F.normalize(states.float(), dim=-1)
        total = total + torch.einsum("atd,btd->ab", unit, unit).cpu()
        count += len(window)
    return total / count
