"""What a stage will need, before it is trained: for `train --dry-run`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pretrial.train import flops
from pretrial.train.batches import micro_batch_size, to_device
from pretrial.train.checkpoint import frozen_prefixes
from pretrial.train.stage import Stage

_SLOTS = {"adamw": 2, "adam": 2, "sgd": 1}


def describe(stage: Stage, measure: bool = True) -> dict[str, Any]:
    """Parameters, memory, work and length of a stage, in one process.

    Args:
        stage: the stage; its module may stand on the meta device, where nothing is allocated.
        measure: run one micro-batch forward and backward for FLOPs, tokens and activations.

    Returns:
        "stage", "module", "num_trainable", "num_frozen", "num_parameters", "num_examples",
        "batch_size", "micro_batch_size", "budget"; "memory", bytes by "weights" (with buffers),
        "gradients", "optimizer", "ema" and, if measured, "activations" (what one micro-batch keeps
        for its backward pass); if measured, "flops_per_step" and "tokens_per_step"; "num_steps" and
        "num_epochs", None where they cannot be told from the budget.
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
    micro = micro_batch_size(stage, 1)
    about: dict[str, Any] = {
        "stage": stage.name,
        "module": type(module).__name__,
        "num_trainable": num_trainable,
        "num_frozen": num_parameters - num_trainable,
        "num_parameters": num_parameters,
        "num_examples": len(stage.data),
        "batch_size": stage.batch_size,
        "micro_batch_size": micro,
        "budget": f"{stage.budget.amount:g} {stage.budget.unit}",
        "memory": memory,
    }
    a_step: dict[str, float] = {"steps": 1, "examples": stage.batch_size}
    if measure:
        times = stage.batch_size // micro
        num_flops, num_tokens, memory["activations"] = _measure(stage, micro)
        about["flops_per_step"] = a_step["flops"] = num_flops * times
        about["tokens_per_step"] = a_step["tokens"] = num_tokens * times
    one = a_step.get(stage.budget.unit)
    num_steps = math.ceil(stage.budget.amount / one) if one else None
    about["num_steps"] = num_steps
    about["num_epochs"] = num_steps * stage.batch_size / len(stage.data) if num_steps else None
    return about


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _measure(stage: Stage, size: int) -> tuple[int, float, int]:
    """FLOPs, tokens and bytes kept for the backward pass, of the first `size` examples."""
    module = stage.module
    device = next(module.parameters()).device
    own = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    examples = [stage.data[index] for index in range(size)]
    batch = to_device(module.batch(examples, torch.Generator().manual_seed(0)), device)

    def work() -> None:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = module.losses(batch)["loss"]
        loss.backward()

    mode = module.training
    module.train()
    with torch.random.fork_rng(devices=[]):
        _, num_flops = flops.count(work)
    module.zero_grad()
    module.train(mode)
    return num_flops, float(batch["counts"].get("tokens", 0)), sum(kept.values())
