"""A momentum encoder: a copy of a network that follows it slowly (MoCo, arXiv 1911.05722)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Momentum(nn.Module):
    """copy <- decay * copy + (1 - decay) * network, once a step.

    The copy is neither trained nor part of `frozen`: it carries no gradient, and checkpoints hold
    it. Call `update` in the method's `after_step`.

    Args:
        network: what is followed; it stays where it is, and does not become a part of this module.
        decay: of the average.

    Attributes:
        average: the copy.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.average = copy.deepcopy(network).requires_grad_(False)
        self._network = (network,)  # in a tuple, so that it is not registered a second time

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy gives, without gradients."""
        return self.average(*args, **kwargs)

    @torch.no_grad()
    def update(self, decay: float | None = None) -> None:
        """Moves the copy one step towards the network, by another decay where one is given.

        Buffers of the network, such as running statistics, are taken over as they are.
        """
        (network,) = self._network
        weights = [parameter.detach() for parameter in network.parameters()]
        share = 1 - (self.decay if decay is None else decay)
        torch._foreach_lerp_(list(self.average.parameters()), weights, share)
        for own, theirs in zip(self.average.buffers(), network.buffers(), strict=True):
            own.copy_(theirs)

    @torch.no_grad()
    def restart(self) -> None:
        """Makes the copy equal to the network again, such as after its weights were loaded."""
        self.update(decay=0.0)
