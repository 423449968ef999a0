"""Low-rank updates of linear layers (LoRA, 2106.09685, section 4.1): trained, then merged."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """A linear layer that stays, and the product of two narrow matrices that learns.

    Args:
        linear: the layer; its weights get no gradient any more.
        rank: inner width of the product.
        alpha: the product is multiplied by alpha / rank.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.scale = alpha / rank
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.normal_(self.down, std=linear.in_features**-0.5)

    def forward(self, states: Tensor) -> Tensor:
        """What the layer gives [..., out] and the update of it."""
        return self.linear(states) + (states @ self.down.T) @ self.up.T * self.scale

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the update in its weights."""
        self.linear.weight += self.scale * self.up @ self.down
        return self.linear


def add_low_rank(
    network: nn.Module, rank: int, alpha: float, leave: Collection[nn.Module] = ()
) -> None:
    """Freezes a network and puts updates beside its linear layers.

    Args:
        network: is changed in place.
        rank: see `LowRank`.
        alpha: see `LowRank`.
        leave: layers without an update, such as one that shares its matrix with the embeddings.
    """
    network.requires_grad_(False)
    for owner in list(network.modules()):
        for name, child in list(owner.named_children()):
            if type(child) is nn.Linear and child not in leave and not isinstance(owner, LowRank):
                setattr(owner, name, LowRank(child, rank, alpha))


def merge_low_rank(network: nn.Module) -> None:
    """Merges what `add_low_rank` has added; the network is then what it was, with other weights."""
    for owner in list(network.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, LowRank):
                setattr(owner, name, child.merged())
