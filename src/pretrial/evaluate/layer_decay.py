"""Smaller learning rates for lower layers, as fine-tuning of deep encoders likes them."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from pretrial.train.stage import Optim

# A number between dots after the name that transformers gives to a stack of layers.
_LAYER = re.compile(r"\.(?:layer|layers|h|block|blocks)\.(\d+)\.")


def decayed_optims(module: nn.Module, optim: Optim, decay: float) -> tuple[Optim, ...]:
    """One optimiser a layer: the head has the full learning rate, each layer below `decay` times
    that of the one above it, and the embeddings the smallest.

    Args:
        module: its parameters are told apart by name: layers by their number, embeddings by "embed"
            in their name; the rest is the head.
        optim: what the head gets.
        decay: in (0, 1]; 1 gives `optim` alone.
    """
    if decay == 1:
        return (optim,)
    depths: dict[int, list[str]] = {}
    layers = {
        name: int(found.group(1))
        for name, _ in module.named_parameters()
        if (found := _LAYER.search(name))
    }
    num_layers = max(layers.values(), default=-1) + 1
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        lowest = num_layers + 1 if "embed" in name else 0
        below = num_layers - layers[name] if name in layers else lowest
        depths.setdefault(below, []).append(name)
    return tuple(
        dataclasses.replace(
            optim,
            lr=optim.lr * decay**below,
            match=f"^(?:{'|'.join(re.escape(name) for name in names)})$",
        )
        for below, names in sorted(depths.items())
    )
