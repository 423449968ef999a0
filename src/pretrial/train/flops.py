"""Floating point operations of a forward and backward pass, by torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

Result = TypeVar("Result")


def _cpu_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _cpu_attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


# torch 2.13's counter knows the attention kernels of GPUs only
_ATTENTION_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _cpu_attention_backward,
}


def count(work: Callable[[], Result]) -> tuple[Result, int]:
    """Runs `work`; its result and its operations: products, convolutions and attention.

    A multiplication and an addition are two. Element-wise work is not counted.
    """
    with FlopCounterMode(display=False, custom_mapping=_ATTENTION_ON_CPU) as counter:
        result = work()
    return result, counter.get_total_flops()


def shape_of(batch: Any) -> Any:
    """What the work on a batch depends on: the shapes of its tensors and its other settings."""
    if isinstance(batch, Tensor):
        return (tuple(batch.shape), batch.dtype)
    if isinstance(batch, dict):
        return tuple((key, shape_of(value)) for key, value in batch.items() if key != "counts")
    if isinstance(batch, (list, tuple)):
        return tuple(shape_of(value) for value in batch)
    return batch if isinstance(batch, (str, int, bool)) else None


class FlopMeter:
    """Counts each shape of batch once and remembers it, as counting slows a step down."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def measure(self, batch: Any, work: Callable[[bool], Result]) -> tuple[Result, int]:
        """Runs `work`, which treats `batch` and is told whether it is being counted.

        Returns:
            Its result and its operations.
        """
        shape = shape_of(batch)
        if shape in self._known:
            return work(False), self._known[shape]
        result, self._known[shape] = count(partial(work, True))
        return result, self._known[shape]
