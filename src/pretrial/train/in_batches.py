"""What a module gives for many examples, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pretrial import status
from pretrial.errors import UserError

Item = TypeVar("Item")
Found = TypeVar("Found")


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
    starts = status.each(range(0, len(examples), batch_size), "computing batches")
    found = [compute(examples[start : start + batch_size]).float().cpu() for start in starts]
    module.train(training)
    return torch.cat(found)


@torch.no_grad()
def each_by_length(
    module: nn.Module,
    items: Sequence[Item],
    compute: Callable[[list[Item]], Sequence[Found]],
    length: Callable[[Item], int],
    batch_size: int = 64,
) -> list[Found]:
    """What `compute` gives for each item, in their order; batches hold items of like length.

    Args:
        module: computes it; it is in eval mode meanwhile, and as it was afterwards.
        items: N of them.
        compute: gives one result for each item of a batch.
        length: of an item.
        batch_size: items at a time.
    """
    training = module.training
    module.eval()
    found: dict[int, Found] = {}
    batches = list(by_length(items, batch_size, length))
    for places in status.each(batches, "computing batches"):
        found |= zip(places, compute([items[i] for i in places]), strict=True)
    module.train(training)
    return [found[i] for i in range(len(items))]


def by_length(
    items: Sequence[Any], batch_size: int, length: Callable[[Any], int] = len
) -> Iterator[list[int]]:
    """Places of items in batches of like length, so that little of a batch is padding.

    Args:
        items: N of them.
        batch_size: places at a time.
        length: of an item.
    """
    order = sorted(range(len(items)), key=lambda place: length(items[place]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
