"""Losses on examples that are not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from pretrial import status
from pretrial.train.device import to_device

if TYPE_CHECKING:
    from pretrial.train.stage import Trainable


@torch.no_grad()
def held_out_losses(
    module: Trainable, examples: Sequence[Any], batch_size: int
) -> dict[str, float]:
    """Means of a module's losses over examples, by name, always with the same corruption.

    Args:
        module: gives the losses; its mode is left alone.
        examples: what its `batch` takes; there must be some.
        batch_size: examples a forward pass.
    """
    generator = torch.Generator().manual_seed(0)
    device = next(module.parameters()).device
    sums: dict[str, float] = {}
    for start in status.each(range(0, len(examples), batch_size), "evaluating held-out data"):
        batch = module.batch(examples[start : start + batch_size], generator)
        share = batch["counts"]["examples"] / len(examples)
        for name, value in module.losses(to_device(batch, device)).items():
            sums[name] = sums.get(name, 0.0) + share * float(value)
    return sums
