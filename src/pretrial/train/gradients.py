"""The gradients of one step: forward and backward over its micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from pretrial.errors import UserError
from pretrial.train import distributed
from pretrial.train.flops import FlopMeter
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of, seed_torch
from pretrial.train.sharding import Sharding
from pretrial.train.stage import Batch, Stage

Precision = Literal["bf16"] | None
Forward = Callable[[Batch], dict[str, Tensor]]


@dataclass(frozen=True)
class ComputeOptions:
    """How the work is done, which has no say in what is learnt; see `train`."""

    autocast: Precision = None
    compile: bool = False
    shard: bool = False


class Gradients:
    """Runs a stage's losses and their backward passes, over all processes.

    Attributes:
        meter: counts FLOPs; None where nobody asks for them.
        sharding: of the module; None where every process holds all of it.
    """

    def __init__(self, stage: Stage, run: Run, options: ComputeOptions) -> None:
        if options.autocast not in (None, "bf16"):
            raise UserError(f"autocast can be 'bf16' or None, not {options.autocast!r}")
        self.stage = stage
        self.run = run
        self.module = stage.module
        self.options = options
        self.meter = FlopMeter() if run.measure_flops or stage.budget.unit == "flops" else None
        self.sharding: Sharding | None = None
        several = run.world.size > 1
        touch = several and options.shard and self.module.skips_parameters
        losses = distributed.Losses(self.module, touch)
        self._wrapped: nn.Module = losses
        self._plain: Forward = self.module.losses
        if several:
            if options.shard:
                self.sharding = Sharding(losses, self.module)
            else:
                self._wrapped = distributed.replicate(losses, self.module)
            self._plain = self._wrapped
        # counting would make the compiler give up on what it sees for the first time, so that is
        # left to the plain losses
        self._forward = torch.compile(self._wrapped) if options.compile else self._plain

    def add(self, batches: list[tuple[int, Batch]]) -> tuple[dict[str, Tensor], int]:
        """Adds the gradients of the micro-batches to the parameters' `grad`.

        Args:
            batches: (position of the first example in the stream, micro-batch).

        Returns:
            This process's share of each loss of the step, on the device, and its FLOPs.
        """
        sums: dict[str, Tensor] = {}
        flops = 0
        if len(batches) > 1:
            with distributed.accumulating(self._wrapped):
                for start, batch in batches[:-1]:
                    flops += self._add_one(start, batch, sums)
        flops += self._add_one(*batches[-1], sums)
        return sums, flops

    def _add_one(self, start: int, batch: Batch, sums: dict[str, Tensor]) -> int:
        """Adds one micro-batch's gradients, and its losses to `sums`; its FLOPs."""
        seed_torch(seed_of(self.run.seed, self.stage.name, start, "losses"))
        flops = 0
        if self.meter is None:
            losses = self._backward(batch, counting=False)
        else:
            losses, flops = self.meter.measure(batch, partial(self._backward, batch))
        for name, value in losses.items():
            sums[name] = sums[name] + value if name in sums else value
        return flops

    def _backward(self, batch: Batch, counting: bool) -> dict[str, Tensor]:
        forward = self._plain if counting else self._forward
        if self.options.autocast is None:
            losses = forward(batch)
        else:
            with torch.autocast(self.run.device.type, dtype=torch.bfloat16):
                losses = forward(batch)
        if "loss" not in losses:
            raise UserError(f'{type(self.module).__name__}.losses must return a "loss" to minimise')
        # DDP and FSDP average over processes, and the counts already divide by all of them
        size = self.run.world.size
        (losses["loss"] * size if size > 1 else losses["loss"]).backward()
        return {name: value.detach() for name, value in losses.items()}


def check_gradients(stage: str, parameters: Mapping[str, nn.Parameter]) -> None:
    """Makes sure that each of the parameters has got a gradient.

    Raises:
        UserError: one has none.
    """
    missing = [name for name, parameter in parameters.items() if parameter.grad is None]
    if missing:
        raise UserError(
            f"stage {stage!r}: {len(missing)} trainable parameter(s) got no gradient in the first"
            f" step: {', '.join(missing[:5])}. Use them in losses, or set requires_grad to False,"
            " or put their module into `frozen`"
        )
