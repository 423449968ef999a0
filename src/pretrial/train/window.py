"""The losses since the last logged row, left on the device until somebody needs them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pretrial.train.distributed import World


class Window:
    """Named scalars of consecutive steps.

    Attributes:
        steps: for each step its scalars: tensors, or floats once they were read.
        norm_names: the scalars that are the same in all processes; the others are shares that add
            up over processes.
    """

    def __init__(self, norm_names: list[str], steps: list[dict[str, Any]]) -> None:
        self.norm_names = norm_names
        self.steps = steps

    def read(self) -> tuple[int, str] | None:
        """Reads the scalars from the device.

        Returns:
            The first step, counted from the window's end backwards (-1 is the last), with a loss or
            a gradient norm that is not finite, and which; None where all are finite.
        """
        waiting = [
            (scalars, name)
            for scalars in self.steps
            for name, value in scalars.items()
            if isinstance(value, Tensor)
        ]
        if waiting:
            values = torch.stack([scalars[name] for scalars, name in waiting]).tolist()
            for (scalars, name), value in zip(waiting, values, strict=True):
                scalars[name] = value
        for index, scalars in enumerate(self.steps):
            for name in ("loss", *self.norm_names):
                if not math.isfinite(scalars.get(name, 0.0)):
                    return index - len(self.steps), f"{name} is {scalars[name]}"
        return None

    def take_over(self, parts: list[list[dict[str, float]]], world: World) -> None:
        """Goes on with the windows of the processes of before, by rank.

        Where their number has changed, the first process takes what all of them had.
        """
        if len(parts) == world.size:
            self.steps = parts[world.rank]
            return
        sums = self._sums(parts)
        count = len(parts[0])
        self.steps = [
            {name: totals[i] for name, totals in sums.items() if not math.isnan(totals[i])}
            if world.is_first
            else {}
            for i in range(count)
        ]

    def means(self, world: World) -> dict[str, float]:
        """Empties the window; means over its steps, of the sums over processes."""
        sums = self._sums(world.gather(self.steps))
        self.steps = []
        return {name: _mean(totals) for name, totals in sums.items()}

    def _sums(self, parts: list[list[dict[str, float]]]) -> dict[str, list[float]]:
        """Each scalar's sum over processes, step by step; NaN where no process has it."""
        sums: dict[str, list[float]] = {}
        for part in parts:
            for index, scalars in enumerate(part):
                for name, value in scalars.items():
                    totals = sums.setdefault(name, [math.nan] * len(part))
                    alone = name in self.norm_names or math.isnan(totals[index])
                    totals[index] = value if alone else totals[index] + value
        return sums


def _mean(values: list[float]) -> float:
    """Mean over the steps that have the scalar."""
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan
