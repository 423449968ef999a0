"""What a module gives for many examples, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.errors import UserError


@torch.no_grad()
def in_batches(
    module: nn.Module,
    examples: Sequence[Any],
    compute: Callable[[Sequence[Any]], Tensor],
    batch_size: int = 64,
) -> Tensor:
    """What `compute` gives for all examples [N, ...], in fp32 and on the CPU.

    Args:
        module: computes it; it is in eval mode meanwhile, and as it was afterwards.
        examples: N of them.
        compute: gives a tensor [B, ...] for B of them.
        batch_size: examples at a time.

    Raises:
        UserError: there are none.
    """
    if not len(examples):
        raise UserError("there is nothing to read: give at least one example")
    training = module.training
    module.eval()
    starts = range(0, len(examples), batch_size)
    found = [compute(examples[start : start + batch_size]).float().cpu() for start in starts]
    module.train(training)
    return torch.cat(found)
