"""What a stage takes on each of many devices, before they are paid for. Formulas: docs/scale.md."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pretrial.train.checkpoint import frozen_prefixes
from pretrial.train.hardware import DEVICES, Machine
from pretrial.train.sharding import blocks
from pretrial.train.stage import Stage

USABLE = 0.9  # of a device's memory, beside its driver's, what NCCL takes and what lies fallow
BF16_ACTIVATIONS = 0.65  # of what they take in fp32: the most measured, see docs/scale.md
# fp32 numbers an element that an optimiser step moves: weight, gradient and state, read and written
_MOVED = {"adamw": 7, "adam": 7, "sgd": 5}


@dataclass(frozen=True)
class Plan:
    """A stage on each device of a machine.

    Attributes:
        sharded: weights cut over the devices (FSDP), or copied (DDP).
        memory: bytes by purpose while it trains.
        evaluation: bytes while it is evaluated, when every device holds the weights whole.
        compute, exchange, update: seconds of a step for products, messages between devices, and
            the optimiser.
        tokens: of a step, on all devices.
        num_steps: of the stage, None where that is not known.
    """

    sharded: bool
    memory: dict[str, int]
    evaluation: int
    compute: float
    exchange: float
    update: float
    tokens: float
    num_steps: int | None

    @property
    def needed(self) -> int:
        """Bytes at the worst moment."""
        return max(sum(self.memory.values()), self.evaluation)

    @property
    def step_seconds(self) -> float:
        """Of a step, messages going on while products are computed."""
        return max(self.compute, self.exchange) + self.update

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.step_seconds

    @property
    def hours(self) -> float | None:
        """Of the stage."""
        return self.num_steps * self.step_seconds / 3600 if self.num_steps else None


class _Sizes:
    """Bytes of a stage's tensors, whole and on one of `gpus` devices."""

    def __init__(self, stage: Stage, gpus: int, sharded: bool) -> None:
        module = stage.module
        prefixes = frozen_prefixes(module)
        named = dict(module.named_parameters())
        frozen = [p for name, p in named.items() if name.startswith(prefixes)]
        own = [p for name, p in named.items() if not name.startswith(prefixes)]
        trained = [p for p in own if p.requires_grad]
        self.fixed = _bytes([*frozen, *module.buffers()])
        self.weights, self.trained = _bytes(own), _bytes(trained)
        self.weights_here, self.trained_here = self.weights, self.trained
        self.gathered = 0
        if sharded:
            self.weights_here = sum(shard_bytes(p, gpus) for p in own)
            self.trained_here = sum(shard_bytes(p, gpus) for p in trained)
            units = [] if module.skips_parameters else blocks(module, prefixes)
            inside = {id(p): p for unit in units for p in unit.parameters()}
            rest = [p for p in own if id(p) not in inside]
            # the rest stays gathered until its gradients, whole, are sent; of the blocks there are
            # the one that is computed, the next one, and a gradient on its way
            block = max((_bytes(unit.parameters()) for unit in units), default=0)
            self.gathered = 2 * _bytes(rest) + 3 * block


def shard_bytes(tensor: Tensor, gpus: int) -> int:
    """Bytes of the largest part of a tensor whose rows are dealt out."""
    rows = len(tensor) if tensor.ndim else 1
    return math.ceil(rows / gpus) * (tensor.nbytes // max(rows, 1))


def plan(
    stage: Stage, about: dict[str, Any], machine: Machine, *, sharded: bool, bf16: bool
) -> Plan:
    """Plans a stage.

    Args:
        stage: the stage; its module may stand on the meta device.
        about: `describe` of it for `machine.gpus` processes.
        machine: what it is to run on.
        sharded: as with `--shard`.
        bf16: as with `--dtype bf16`.
    """
    sharded = sharded and machine.gpus > 1
    sizes = _Sizes(stage, machine.gpus, sharded)
    kind = max((optim.kind for optim in stage.optims), key=lambda kind: _MOVED[kind])
    slots = {"adamw": 2, "adam": 2, "sgd": 1}[kind]
    activations = about["memory"].get("activations", 0)
    copies = sizes.weights // 2 if bf16 else 0  # autocast keeps a bf16 copy of every weight it uses
    memory = {
        "weights": sizes.weights_here + sizes.fixed,
        "gradients": sizes.trained_here,
        "optimizer": slots * sizes.trained_here,
        "ema": sizes.trained_here if stage.ema is not None else 0,
        "gathered": sizes.gathered,
        "bf16 copies": copies,
        "activations": round(activations * BF16_ACTIVATIONS) if bf16 else activations,
    }
    kept = memory["weights"] + memory["optimizer"] + memory["ema"]
    device, micro = machine.device, about["micro_batch_size"]
    times = stage.batch_size // (micro * machine.gpus)  # forward passes of a device in a step
    peak = (device.bf16 if bf16 else device.fp32) * machine.utilisation
    one_pass = machine.pass_seconds(sizes.trained)
    if sharded:  # each forward pass gathers weights, each backward pass again, and sends gradients
        exchange = times * (2 * machine.pass_seconds(sizes.weights) + one_pass)
    else:  # an all-reduce is a reduce-scatter and an all-gather
        exchange = 2 * one_pass
    return Plan(
        sharded=sharded,
        memory=memory,
        evaluation=kept + (sizes.weights if sharded else 0),
        compute=about.get("flops_per_step", 0) / machine.gpus / peak,
        exchange=exchange if machine.gpus > 1 else 0.0,
        update=_MOVED[kind] * sizes.trained_here / device.bandwidth,
        tokens=about["tokens_per_step"],
        num_steps=about["num_steps"],
    )


def _bytes(tensors: Iterable[Tensor | nn.Parameter]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def mend(plan: Plan, sharded: Plan, machine: Machine, about: dict[str, Any]) -> str | None:
    """What to change where the device is too small; None where it is not.

    Args:
        plan: the plan.
        sharded: the same with weights cut over the devices.
        machine: what both are for.
        about: what `plan` was made of.
    """
    room = USABLE * machine.device.memory
    if plan.needed <= room:
        return None
    needs = (
        f"stage {about['stage']!r} needs {plan.needed / 1e9:.1f} GB on each device and"
        f" {room / 1e9:.1f} GB of {machine.name} can be used: "
    )
    if not plan.sharded and plan.needed > sharded.needed <= room:
        return f"{needs}add --shard, which needs {sharded.needed / 1e9:.1f} GB"
    best = min(plan, sharded, key=lambda one: one.needed)
    hint = " with --shard" if best is sharded and not plan.sharded else ""
    activations, micro = best.memory["activations"], about["micro_batch_size"]
    left = room - (sum(best.memory.values()) - activations)
    fits = int(left / activations * micro) if activations else 0
    if fits >= 1 and best.evaluation <= room:
        if about["compares_examples"]:
            return f"{needs}take more GPUs{hint}, so that each gets at most {fits} examples a step"
        return f"{needs}set the method's micro-batch size to at most {fits}{hint}"
    larger = [name for name, one in DEVICES.items() if best.needed <= USABLE * one.memory]
    if larger:
        return f"{needs}take a larger device{hint}, such as {larger[0]}"
    return f"{needs}no device of the table is large enough{hint}: choose a smaller model"
