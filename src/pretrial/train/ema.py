"""An exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pretrial.train.distributed import copy_whole, wholes


class Average:
    """average <- decay * average + (1 - decay) * weights, after every optimiser step.

    Buffers are not averaged: evaluation uses the current ones.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.names = list(parameters)
        self.weights: list[Tensor] = [parameter.detach() for parameter in parameters.values()]
        self.averages: list[Tensor] = [weight.clone() for weight in self.weights]

    def update(self) -> None:
        """One step of the average."""
        torch._foreach_lerp_(self.averages, self.weights, 1 - self.decay)

    def _swap(self) -> None:
        for weight, average in zip(self.weights, self.averages, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages stand in for the weights inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def replace_weights(self) -> None:
        """The averages become the weights."""
        for weight, average in zip(self.weights, self.averages, strict=True):
            weight.copy_(average)

    def state(self) -> dict[str, Tensor]:
        """The averages by name, on the CPU."""
        averages = wholes(self.averages)
        return {name: average.cpu() for name, average in zip(self.names, averages, strict=True)}

    def load(self, state: dict[str, Tensor]) -> None:
        """What `state` gave."""
        for name, average in zip(self.names, self.averages, strict=True):
            copy_whole(average, state[name])
