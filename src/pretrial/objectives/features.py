"""Keeping near: to the features of a teacher, or to weights as they were."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def feature_loss(student: Tensor, teacher: Tensor, count: float) -> Tensor:
    """Squared distance of features, summed over their dimensions; the teacher gets no gradient.

    Args:
        student: [B, d].
        teacher: [B, d].
        count: what the sum over examples is divided by.
    """
    return (student.float() - teacher.detach().float()).square().sum() / count


def squared_distance(module: nn.Module, origin: nn.Module) -> Tensor:
    """Squared distance of a module's parameters from those of another of the same make."""
    pairs = zip(module.parameters(), origin.parameters(), strict=True)
    return torch.stack([(own - other.detach()).square().sum() for own, other in pairs]).sum()
