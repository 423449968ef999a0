"""Optimisers built from `Optim`: which parameters each takes, its schedule, its clipping."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.errors import UserError
from pretrial.train.distributed import copy_whole, is_sharded, whole, wholes
from pretrial.train.stage import Optim

Parameters = dict[str, nn.Parameter]


class Schedule:
    """The learning rate over a stage, as a share of its peak.

    Attributes:
        warm_end: fraction of the budget that was spent when the warm-up ended; None before.
    """

    def __init__(self, spec: Optim) -> None:
        self.spec = spec
        self.warm_end: float | None = None

    def factor(self, step: int, fraction: float, stride: float) -> float:
        """The share of the peak for one step.

        Args:
            step: number of the step, from 0.
            fraction: of the budget, spent before the step.
            stride: fraction of the budget that a step takes where it is the same for all, else 0;
                with it the warm-up's first step is not lost on a rate of 0.
        """
        spec = self.spec
        if spec.warmup >= 1:
            warm = (step + 1) / spec.warmup
        else:
            warm = (fraction + stride) / spec.warmup if spec.warmup else 1.0
        if warm < 1:
            return warm
        if self.warm_end is None:
            self.warm_end = fraction
        done = (fraction - self.warm_end) / max(1 - self.warm_end, 1e-12)
        if spec.schedule == "constant":
            return 1.0
        shape = 1 - done if spec.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return spec.final_ratio + (1 - spec.final_ratio) * shape


def share_out(parameters: Parameters, specs: Sequence[Optim]) -> list[Parameters]:
    """The parameters of each optimiser.

    Raises:
        UserError: a parameter is matched by no optimiser or by several; an optimiser by none.
    """
    shares: list[Parameters] = [{} for _ in specs]
    for name, parameter in parameters.items():
        takers = [index for index, spec in enumerate(specs) if re.search(spec.match, name)]
        if len(takers) != 1:
            how = "no optimiser" if not takers else f"{len(takers)} optimisers"
            patterns = ", ".join(repr(spec.match) for spec in specs)
            raise UserError(
                f"parameter {name!r} is matched by {how}: change `match` of the stage's optimisers"
                f" ({patterns}) so that exactly one takes it"
            )
        shares[takers[0]][name] = parameter
    for spec, share in zip(specs, shares, strict=True):
        if not share:
            raise UserError(
                f"the optimiser with match={spec.match!r} takes no trainable parameter:"
                f" change its `match`; there are {', '.join(list(parameters)[:5])}, ..."
            )
    return shares


def build(spec: Optim, parameters: Parameters) -> torch.optim.Optimizer:
    """The torch optimiser; biases, norms and other one-dimensional parameters do not decay."""
    groups = []
    for decay, wanted in ((spec.weight_decay, True), (0.0, False)):
        chosen = [p for p in parameters.values() if (p.ndim > 1) is wanted]
        if chosen:
            groups.append({"params": chosen, "weight_decay": decay})
    # one kernel for all tensors; it does not take sharded ones
    fused = not any(is_sharded(parameter) for parameter in parameters.values())
    if spec.kind == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.betas[0], fused=fused)
    kind = torch.optim.AdamW if spec.kind == "adamw" else torch.optim.Adam
    return kind(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=fused)


@torch.no_grad()
def clip(parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Scales the gradients down to `max_norm` together; their norm before that.

    The same as torch's `clip_grad_norm_` in a third of the time, as all stand on one device.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    norm = whole(norm)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp_(max=1.0))
    return norm


class Optimizers:
    """All optimisers of a stage, stepped together."""

    def __init__(self, parameters: Parameters, specs: Sequence[Optim]) -> None:
        self.specs = specs
        self.shares = share_out(parameters, specs)
        self.schedules = [Schedule(spec) for spec in specs]
        self.optimizers = [
            build(spec, share) for spec, share in zip(specs, self.shares, strict=True)
        ]
        self._lists = [list(share.values()) for share in self.shares]
        names = ["grad_norm"] if len(specs) == 1 else [f"grad_norm_{i}" for i in range(len(specs))]
        self._norms = [
            name if spec.clip_norm else None for name, spec in zip(names, specs, strict=True)
        ]
        self.norm_names = [name for name in self._norms if name]

    def set_rates(self, step: int, fraction: float, stride: float) -> None:
        """Sets the learning rates of one step; see Schedule.factor."""
        for spec, schedule, optimizer in zip(
            self.specs, self.schedules, self.optimizers, strict=True
        ):
            rate = spec.lr * schedule.factor(step, fraction, stride)
            for group in optimizer.param_groups:
                group["lr"] = rate

    def lost_warmup(self, num_steps: float) -> str:
        """What to say where so few steps end before a warm-up does; "" where none is lost."""
        warmup = max(spec.warmup for spec in self.specs)
        if warmup <= max(1, num_steps):
            return ""
        return (
            f"the warm-up takes {warmup:g} steps and the budget ends after {num_steps:.0f}, so the"
            " learning rate never reaches its peak: give a share of the budget instead, such as"
            " --warmup 0.1"
        )

    def rates(self) -> dict[str, float]:
        """The current learning rates, by the name they are logged under."""
        rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        if len(rates) == 1:
            return {"lr": rates[0]}
        return {f"lr_{index}": rate for index, rate in enumerate(rates)}

    def load_rates(self, rates: Sequence[float]) -> None:
        """What `rates` gave: a stage that was stopped behind its last step still logs them."""
        for optimizer, rate in zip(self.optimizers, rates, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def step(self) -> dict[str, Tensor]:
        """Clips the gradients and steps; the norms before clipping, by their log name."""
        norms = {}
        for spec, optimizer, parameters, name in zip(
            self.specs, self.optimizers, self._lists, self._norms, strict=True
        ):
            if name is not None:
                norms[name] = clip(parameters, spec.clip_norm)
            optimizer.step()
        return norms

    def clear(self) -> None:
        """Removes the gradients; Optimizer.zero_grad takes ten times as long for the same."""
        for parameters in self._lists:
            for parameter in parameters:
                parameter.grad = None

    def _slots(self) -> list[tuple[str, nn.Parameter, dict[str, Any]]]:
        """(name, parameter, its state) over all optimisers."""
        return [
            (name, parameter, optimizer.state[parameter])
            for share, optimizer in zip(self.shares, self.optimizers, strict=True)
            for name, parameter in share.items()
            if parameter in optimizer.state
        ]

    def tensors(self) -> dict[str, Tensor]:
        """The optimisers' state as "<parameter>/<slot>", on the CPU."""
        slots = {
            f"{name}/{slot}": value
            for name, _, state in self._slots()
            for slot, value in state.items()
            if value is not None
        }
        full = wholes(list(slots.values()))
        return {key: value.cpu() for key, value in zip(slots, full, strict=True)}

    def load(self, tensors: dict[str, Tensor], warm_ends: Sequence[float | None]) -> None:
        """What `tensors` gave, and the schedules' `warm_end`."""
        for schedule, warm_end in zip(self.schedules, warm_ends, strict=True):
            schedule.warm_end = warm_end
        owners = {
            name: (parameter, optimizer)
            for share, optimizer in zip(self.shares, self.optimizers, strict=True)
            for name, parameter in share.items()
        }
        for key, value in tensors.items():
            name, _, slot = key.rpartition("/")
            parameter, optimizer = owners[name]
            if slot == "step":  # a count, which fused optimisers keep beside the weights
                kept = value.to(parameter.device) if optimizer.defaults["fused"] else value
                kept = kept.clone()  # else the file stays mapped, also when it is pruned
            else:
                kept = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
                copy_whole(kept, value)
            optimizer.state[parameter][slot] = kept
