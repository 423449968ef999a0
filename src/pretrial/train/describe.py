"""What a stage will need, before it is trained: for `train --dry-run`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from pretrial.train import flops
from pretrial.train.attention import FusedAttention
from pretrial.train.batches import micro_batch_size
from pretrial.train.checkpoint import frozen_prefixes
from pretrial.train.stage import Batch, Stage, Trainable

_SLOTS = {"adamw": 2, "adam": 2, "sgd": 1}


def describe(stage: Stage, num_processes: int = 1) -> dict[str, Any]:
    """Parameters, memory, work and length of a stage, in one process or one of several.

    One micro-batch goes forward and backward, with shapes alone: nothing is allocated or computed,
    so a module on the meta device is told of as if it were on the CPU. Losses that look at values,
    say to pick positions by a mask, cannot be measured like this.

    Args:
        stage: the stage; its module may stand on the meta device.
        num_processes: that share a step's examples; memory is that of one which holds all weights.

    Returns:
        "stage", "module", "num_trainable", "num_frozen", "num_parameters", "num_examples",
        "batch_size", "micro_batch_size", "compares_examples", "budget"; "memory", bytes by
        "weights" (with buffers), "gradients", "optimizer", "ema" and, if measured, "activations"
        (what one micro-batch keeps for its backward pass); "tokens_per_step" and, if measured,
        "flops_per_step"; "num_steps"
        and "num_epochs", None where they cannot be told from the budget.
    """
    module = stage.module
    frozen = frozen_prefixes(module)
    parameters = list(module.parameters())
    trainable = [
        parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not name.startswith(frozen)
    ]
    size = _bytes(trainable)
    memory = {
        "weights": _bytes(parameters) + _bytes(module.buffers()),
        "gradients": size,
        "optimizer": size * max(_SLOTS[optim.kind] for optim in stage.optims),
        "ema": size if stage.ema is not None else 0,
    }
    num_parameters = sum(parameter.numel() for parameter in parameters)
    num_trainable = sum(parameter.numel() for parameter in trainable)
    micro = micro_batch_size(stage, num_processes)
    about: dict[str, Any] = {
        "stage": stage.name,
        "module": type(module).__name__,
        "num_trainable": num_trainable,
        "num_frozen": num_parameters - num_trainable,
        "num_parameters": num_parameters,
        "num_examples": len(stage.data),
        "batch_size": stage.batch_size,
        "micro_batch_size": micro,
        "compares_examples": module.compares_examples,
        "budget": f"{stage.budget.amount:g} {stage.budget.unit}",
        "memory": memory,
    }
    batch = first_batch(stage, num_processes)
    times = stage.batch_size // micro
    about["tokens_per_step"] = float(batch["counts"].get("tokens", 0)) * times
    a_step = {
        "steps": 1,
        "examples": stage.batch_size,
        "epochs": stage.batch_size / len(stage.data),
        "tokens": about["tokens_per_step"],
    }
    try:
        num_flops, memory["activations"] = _measure(module, batch)
        about["flops_per_step"] = a_step["flops"] = num_flops * times
    except (DataDependentOutputException, DynamicOutputShapeException):
        pass  # the losses need values
    one = a_step.get(stage.budget.unit)
    num_steps = math.ceil(stage.budget.amount / one) if one else None
    about["num_steps"] = num_steps
    about["num_epochs"] = num_steps * stage.batch_size / len(stage.data) if num_steps else None
    return about


def first_batch(stage: Stage, num_processes: int = 1) -> Batch:
    """The micro-batch of the first examples."""
    examples = [stage.data[index] for index in range(micro_batch_size(stage, num_processes))]
    return stage.module.batch(examples, torch.Generator().manual_seed(0))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


class _Loss(nn.Module):
    """The loss as a forward pass, which `functional_call` asks for."""

    def __init__(self, module: Trainable) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> Tensor:
        return self.module.losses(batch)["loss"]


def _fake(fakes: FakeTensorMode, tensor: Tensor) -> Tensor:
    """A stand-in for `tensor`; call it outside a mode of fakes."""
    return fakes.from_tensor(tensor.detach().to("meta").requires_grad_(tensor.requires_grad))


def _measure(module: Trainable, batch: Batch) -> tuple[int, int]:
    """FLOPs of a forward and backward pass, and bytes that the first keeps for the second.

    All tensors are fakes on the meta device: transformers takes plain ones there for real, and asks
    a mask whether all of it is True.
    """
    loss = _Loss(module)
    tensors = dict([*loss.named_parameters(), *loss.named_buffers()])
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    weights, batch = tree_map_only(Tensor, partial(_fake, fakes), (tensors, batch))
    with fakes:
        own = {tensor.untyped_storage()._cdata for tensor in weights.values()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage.nbytes()
            return tensor

        def work() -> None:
            hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
            with hooks, FusedAttention():
                value = functional_call(loss, weights, (batch,))
            value.backward()

        mode = module.training
        module.train()
        try:
            _, num_flops = flops.count(work)
        finally:
            module.train(mode)
    return num_flops, sum(kept.values())
