"""A stage: one stretch of training with its own module, data, budget and optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses

Batch = dict[str, Any]

#: Share of a budget that counts as all of it: steps that are parts of an epoch add up with errors.
WHOLE = 1 - 1e-9


class Trainable(nn.Module):
    """What the loop can train: it turns examples into a batch and a batch into losses.

    A stage trains a `Trainable`: the method itself, or a part of it such as a critic.

    Attributes:
        skips_parameters: True where it depends on a micro-batch which parameters its loss goes
            through, or how often: the head of another task may be left out, or a network read once
            for each of the objectives drawn. Several processes must then look for those left out
            each time, and gather sharded weights all at once, not block by block.
        compares_examples: True where the loss of one example depends on the others of its batch,
            as with in-batch negatives. A process's share of a step is then one micro-batch, and
            `losses` gathers what it compares from all processes.
    """

    skips_parameters: ClassVar[bool] = False
    compares_examples: ClassVar[bool] = False

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """Collates and corrupts. All randomness comes from `generator`.

        Returns a dict of tensors, with `batch["counts"]`, a dict of floats: the numbers by which
        `losses` divides its sums ("examples", "tokens", "masked", ...; always with "examples",
        and "tokens" where there are tokens). The loop replaces them by their sums over the
        micro-batches and processes of a step, so that the losses of the parts add up to the loss of
        the whole, whatever the split.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to make a batch")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars, each a sum over the batch divided by one of `batch["counts"]`.

        "loss" is what is minimised; the others are logged under their names.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define its losses")

    def after_step(self) -> None:
        """What follows every optimiser step, such as moving a momentum encoder or a queue.

        The gradients of the step, clipped, are still in place. What changes here and is needed to
        go on must be a buffer, or a parameter outside `frozen`: checkpoints then hold it.
        """


@dataclass(frozen=True)
class Optim:
    """One optimiser and its schedule.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled in adamw, part of the gradient in adam and sgd; not applied to
            biases, norms and other one-dimensional parameters.
        betas: of Adam; the first is sgd's momentum.
        eps: of Adam.
        schedule: shape after the warm-up.
        warmup: steps from 0 to the peak when >= 1, else a share of the budget.
        final_ratio: learning rate at the end as a share of the peak (linear and cosine).
        clip_norm: largest gradient norm; 0 turns clipping off.
        kind: "adamw", "adam" or "sgd".
        match: regular expression; this optimiser takes the parameters whose name it matches. With
            several optimisers each trainable parameter must be taken by exactly one.
    """

    lr: float = 5e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.0
    final_ratio: float = 0.0
    clip_norm: float = 1.0
    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    match: str = ""

    @classmethod
    def of(cls, config: Any, **more: Any) -> Optim:
        """As a Config's `lr`, `weight_decay` and `warmup` say, as far as it has them.

        Args:
            config: the settings.
            more: further attributes, which go before the settings.
        """
        own = {name: getattr(config, name) for name in _OF_OPTIM if hasattr(config, name)}
        return cls(**(own | more))


@dataclass(frozen=True)
class EarlyStop:
    """Stop when a metric of `Stage.evaluate` has not bettered its best for `patience` evaluations.

    The best weights are restored. With `floor`, stop also as soon as the metric is worse than it;
    the weights that the stage begins with count as being at the floor, so that a stage which only
    worsens them gives them back.
    """

    metric: str
    patience: int = 3
    better: Literal["higher", "lower"] = "lower"
    floor: float | None = None


_OF_OPTIM = ("lr", "weight_decay", "warmup")
_OF_STAGE = ("batch_size", "micro_batch_size", "evaluate_every")


@dataclass
class Stage:
    """One stretch of training.

    Attributes:
        name: unique in the run; its folder is called so.
        module: what is trained; parameters that do not require a gradient stay as they are.
        data: examples, by position. The order of an epoch is a permutation of (seed, epoch).
        budget: when to stop.
        optim: one optimiser or several.
        batch_size: examples an optimiser step, over all processes.
        micro_batch_size: examples a forward pass; None takes a process's share of the batch at
            once. `batch_size` must be a multiple of it times the number of processes.
        evaluate: called with nothing every `evaluate_every` steps and at the end; its numbers are
            logged under "eval/". The module is in eval mode then. Every process calls it, and the
            first one's numbers count.
        early_stop: see EarlyStop.
        ema: decay of an exponential moving average of the weights, which replaces them at the end
            and during `evaluate`; None for none.
        purpose: what its work is booked under.
        shuffle: False keeps the data's order.
        first_example: place in the stream of data where the stage begins.
    """

    name: str
    module: Trainable
    data: Sequence[Any]
    budget: Budget
    optim: Optim | tuple[Optim, ...] = field(default_factory=Optim)
    batch_size: int = 32
    micro_batch_size: int | None = None
    evaluate: Callable[[], dict[str, float]] | None = None
    evaluate_every: int = 0
    early_stop: EarlyStop | None = None
    ema: float | None = None
    purpose: str = "train"
    shuffle: bool = True
    first_example: int = 0

    @classmethod
    def of(
        cls,
        name: str,
        module: Trainable,
        data: Sequence[Any],
        config: Any,
        *,
        budget: Budget,
        held_out: Sequence[Any] = (),
        optim: Optim | tuple[Optim, ...] | None = None,
        **more: Any,
    ) -> Stage:
        """A stage as a Config's settings say, evaluated on what was held out.

        Read are `lr`, `weight_decay`, `warmup`, `batch_size`, `micro_batch_size` and
        `evaluate_every`, as far as the Config has them; see `bases.config.Optimisation`.

        Args:
            name: as in Stage.
            module: as in Stage.
            data: as in Stage.
            config: the settings.
            budget: as in Stage.
            held_out: examples as `data` has them; without any there is no evaluation.
            optim: instead of one made of the settings.
            more: further attributes of Stage, which go before the settings.
        """
        settings = {n: getattr(config, n) for n in _OF_STAGE if hasattr(config, n)} | more
        settings["micro_batch_size"] = settings.get("micro_batch_size") or None  # 0 is all at once
        stage = cls(name, module, data, budget, optim or Optim.of(config), **settings)
        if stage.evaluate is None and len(held_out):
            size = stage.micro_batch_size or stage.batch_size
            stage.evaluate = partial(held_out_losses, module, held_out, size)
        return stage

    @property
    def stride(self) -> float:
        """Share of the budget that each step takes; 0 where its unit does not tell."""
        size = self.batch_size
        step = {"steps": 1.0, "examples": size, "epochs": size / max(len(self.data), 1)}
        return step.get(self.budget.unit, 0.0) / self.budget.amount

    @property
    def num_steps(self) -> int:
        """Steps of the whole budget; 0 where its unit does not tell."""
        return math.ceil(WHOLE / self.stride) if self.stride else 0

    @property
    def optims(self) -> tuple[Optim, ...]:
        """The optimisers, also where there is one."""
        return (self.optim,) if isinstance(self.optim, Optim) else self.optim
