"""Early stopping: the best weights so far, and when to give up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pretrial.errors import UserError, nearest
from pretrial.train.stage import EarlyStop


class Watch:
    """Follows one metric of a stage's evaluations.

    Attributes:
        best: its best value; None before the first evaluation.
        weights: the weights that had it, by name, on the CPU.
    """

    def __init__(self, rule: EarlyStop) -> None:
        self.rule = rule
        self.best: float | None = None
        self.weights: dict[str, Tensor] = {}
        self.num_worse = 0
        self.below_floor = False

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Takes the weights before training, which count as being just at the floor."""
        if self.rule.floor is not None:
            self.best = self.rule.floor
            self.weights = {name: tensor.clone() for name, tensor in weights.items()}

    def see(
        self, numbers: Mapping[str, float], weights: Callable[[], Mapping[str, Tensor]]
    ) -> None:
        """Takes one evaluation and a way to the weights it was made with.

        Raises:
            UserError: the metric is not among the numbers.
        """
        rule = self.rule
        if rule.metric not in numbers:
            raise UserError(
                f"early stopping watches {rule.metric!r}, which the evaluation does not give:"
                f" change it to one of {nearest(rule.metric, numbers)}"
            )
        value = float(numbers[rule.metric])
        if self.best is None or self._betters(value, self.best):
            self.best = value
            self.num_worse = 0
            self.weights = {name: tensor.clone() for name, tensor in weights().items()}
        else:
            self.num_worse += 1
        # written so that a NaN counts as worse
        self.below_floor = rule.floor is not None and not (
            value == rule.floor or self._betters(value, rule.floor)
        )

    def _betters(self, value: float, other: float) -> bool:
        return value > other if self.rule.better == "higher" else value < other

    @property
    def over(self) -> bool:
        """True when the stage should end."""
        return self.below_floor or self.num_worse >= self.rule.patience

    def state(self) -> dict[str, Any]:
        """What goes into a checkpoint beside the weights."""
        return {"best": self.best, "num_worse": self.num_worse, "below_floor": self.below_floor}

    def load(self, state: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """What `state` and the checkpoint gave."""
        self.best = state["best"]
        self.num_worse = state["num_worse"]
        self.below_floor = state["below_floor"]
        self.weights = weights
