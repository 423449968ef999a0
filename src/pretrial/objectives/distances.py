"""How far weights are from others: what pulls a network to where it was, and what it is told by."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def squared_distance(module: nn.Module, origin: nn.Module) -> Tensor:
    """Squared distance of a module's parameters from those of another of the same make.

    As a loss it keeps fine-tuning near to its start (L2-SP); the origin gets no gradient.
    """
    pairs = zip(module.parameters(), origin.parameters(), strict=True)
    return torch.stack([(own - other.detach()).square().sum() for own, other in pairs]).sum()
