"""The task that activations are tried on: smooth functions, by small networks.

The networks differ in nothing but their activation, or in whatever else is made of a size; they are
trained in seconds, where a language model takes minutes. A trial names its arms and claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.compare.trial import Arm, Context, Data, Role, Trial
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Batch, Optim, Stage, Trainable

DIMENSIONS = (2, 3, 4)
_WIDTH = 32
_TESTED = 4096

_NOTES = (
    "Nine networks with two hidden layers of 32: the product of sines, Runge's function and a cubic"
    " in 2, 3 and 4 dimensions, trained side by side on fresh points.",
    "The error is the root mean square over the target's deviation on 4,096 points; items are the"
    " nine networks.",
    "Adam with a peak learning rate of 1e-2 and a cosine for all arms, not tuned.",
)


def sines(x: Tensor) -> Tensor:
    """The product of sin(pi x_i) [N] for points [N, d]."""
    return torch.sin(math.pi * x).prod(-1)


def runge(x: Tensor) -> Tensor:
    """1 / (1 + 25 |x|^2 / d)."""
    return 1 / (1 + 25 * x.square().mean(-1))


def cubic(x: Tensor) -> Tensor:
    """x_1^3 - 2 x_1 x_2 x_d + x_2^2 - x_d."""
    first, second, last = x[:, 0], x[:, 1], x[:, -1]
    return first**3 - 2 * first * second * last + second**2 - last


TARGETS: tuple[Callable[[Tensor], Tensor], ...] = (sines, runge, cubic)


class Approximators(Trainable):
    """A network for each target and dimension, trained side by side; examples are not looked at.

    Args:
        activation: makes one, for each layer of each network.
    """

    def __init__(self, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(size, _WIDTH),
                activation(),
                nn.Linear(_WIDTH, _WIDTH),
                activation(),
                nn.Linear(_WIDTH, 1),
            )
            for _ in TARGETS
            for size in DIMENSIONS
        )

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """Points [B, max d] between -1 and 1, of which a network reads the first coordinates."""
        points = torch.rand(len(examples), max(DIMENSIONS), generator=generator) * 2 - 1
        return {"points": points, "counts": {"examples": float(len(examples))}}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error, over the variance of its target, summed over the networks."""
        errors = [error.square().sum() for error in self.errors(batch["points"])]
        return {"loss": torch.stack(errors).sum() / batch["counts"]["examples"]}

    def errors(self, points: Tensor) -> list[Tensor]:
        """For each network its errors at the points [N], in deviations of its target."""
        found = []
        networks = iter(self.networks)
        for target in TARGETS:
            for size in DIMENSIONS:
                own = points[:, :size]
                deviation = target(_points()[:, :size]).std()
                found.append((next(networks)(own).squeeze(-1) - target(own)) / deviation)
        return found

    @torch.no_grad()
    def relative_rmse(self) -> list[float]:
        """For each network the root of its mean squared error on points that it has not seen."""
        return [float(error.square().mean().sqrt()) for error in self.errors(_points())]


def approximation_trial(
    arms: Sequence[tuple[str, str, Role, Callable[[], nn.Module]]], steps: int, **about: Any
) -> Trial:
    """Which networks come nearest to the functions, at equal parameters and steps?

    Args:
        arms: of each the name, the label, the role, and what makes an activation.
        steps: of each arm.
        about: further attributes of the trial: its question and claims, in "relative_rmse".
    """
    return Trial(
        name="functions",
        data=lambda: Data(train=range(256), name="points between -1 and 1"),
        arms=tuple(
            Arm(name, label, role, run=partial(_approximate, make))
            for name, label, role, make in arms
        ),
        measure=lambda networks, _, seed: {"relative_rmse": networks.relative_rmse()},
        metric="relative_rmse",
        direction="lower",
        budget=Budget(steps, "steps"),
        notes=_NOTES,
        **about,
    )


def _approximate(activation: Callable[[], nn.Module], context: Context) -> Approximators:
    """An arm: trains the networks for the run's budget."""

    class Approximating(Method):
        """One stage; what it trains is no language model."""

        def stages(self, run: Run) -> Iterator[Stage]:
            optim = Optim(lr=1e-2, weight_decay=0.0, kind="adam", schedule="cosine", warmup=0.05)
            yield Stage("train", networks, run.data, run.budget, optim, batch_size=256)

    networks = Approximators(activation)
    train(Approximating(None), context.run)
    return networks


def _points() -> Tensor:
    """The points that are tested on [N, max d], the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(_TESTED, max(DIMENSIONS), generator=generator) * 2 - 1
