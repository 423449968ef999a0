"""Several processes: joined from the launcher's environment, DDP around a module's losses.

`torchrun` and `accelerate launch` set RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; nothing
else is read. Plain
Python objects and float64 sums travel over gloo also on GPUs, so that they never wait for a kernel.
The run folder must be on a disk that all processes see.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretrial.train.stage import Batch, Trainable
from pretrial.train.stop import Stopped

# One process may work for days on an artefact while the others wait for it.
_PATIENCE = timedelta(days=7)
_MESSAGE_BYTES = 1 << 26


@dataclass(frozen=True)
class World:
    """The processes of this run. With one process every method costs nothing.

    Attributes:
        rank: number of this process.
        size: number of processes.
        local_rank: number of this process on its machine, which is that of its GPU.
        local_size: number of processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """True in the process that writes files and speaks to the user."""
        return self.rank == 0

    def own(self, count: int) -> range:
        """Which of `count` pieces of work are this process's."""
        return range(self.rank, count, self.size)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over processes, position by position."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def share(self, value: Any) -> Any:
        """The value of the first process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def on_first(self, action: Callable[[], None]) -> None:
        """The first process acts and the others wait; if it fails, all of them fail."""
        if self.size == 1:
            action()
            return
        failure: Exception | None = None
        if self.is_first:
            try:
                action()
            except Stopped:
                raise  # the launcher has signalled the others too; none of them waits any more
            except Exception as error:
                failure = error
        failed = self.share(failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise RuntimeError("the first process failed; its message says why")

    def in_all(self, action: Callable[[], None]) -> None:
        """All processes act, without waiting for one another; if one fails, all of them fail."""
        failure: Exception | None = None
        try:
            action()
        except Stopped:
            raise  # as in `on_first`
        except Exception as error:
            failure = error
        failed = any(self.gather(failure is not None))
        if failure is not None:
            raise failure
        if failed:
            raise RuntimeError("another process failed; its message says why")


def join() -> World:
    """The processes that the launcher's environment describes, connected."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if not dist.is_initialized():
        backend = "cpu:gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank)
            backend += ",cuda:nccl"
        dist.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(_leave)
    return World(rank, size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class Losses(nn.Module):
    """A module whose forward is `losses`, since DDP and `torch.compile` wrap a forward.

    The parts that are only logged are detached, so that nobody waits for their gradients.

    Args:
        module: the module.
        touch: give every trainable parameter a gradient, of zeros where the loss leaves it out.
    """

    def __init__(self, module: Trainable, touch: bool = False) -> None:
        super().__init__()
        self.module = module
        self.touch = touch

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses = self.module.losses(batch)
        if self.touch:
            trained = (p for p in self.module.parameters() if p.requires_grad)
            nothing = sum(parameter.flatten()[:0].sum() for parameter in trained)
            losses = {**losses, "loss": losses["loss"] + nothing}
        return {name: part if name == "loss" else part.detach() for name, part in losses.items()}


def replicate(losses: nn.Module, module: Trainable) -> nn.Module:
    """The `Losses` of a module under DistributedDataParallel.

    With more than two processes the order in which DDP adds gradients up can differ after a resume,
    and with it the last bit of a weight.
    """
    return DistributedDataParallel(
        losses,
        find_unused_parameters=module.skips_parameters,
        gradient_as_bucket_view=True,  # else every gradient is held twice
    )


def accumulating(wrapped: nn.Module) -> AbstractContextManager[None]:
    """Inside the block copies add gradients up in each process, and do not exchange them.

    Sharded modules do all the same: between micro-batches they would have to keep whole gradients.
    """
    return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def is_sharded(tensor: Tensor) -> bool:
    """True for a DTensor, of which this process holds a part."""
    return hasattr(tensor, "device_mesh")


def whole(tensor: Tensor) -> Tensor:
    """The full tensor, detached; all processes must ask for a sharded one together."""
    return wholes([tensor])[0]


def wholes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The full tensors, detached; all processes must ask for the same ones together.

    Those that fit into one message travel as one: small weights are many, and a message costs far
    more than its bytes.
    """
    found = [tensor.detach() for tensor in tensors]
    group: list[int] = []
    size = 0
    for index, tensor in enumerate(found):
        if not is_sharded(tensor):
            continue
        if not _in_rows(tensor):
            found[index] = cast(Any, tensor).full_tensor()
            continue
        first = found[group[0]] if group else tensor
        alike = tensor.dtype == first.dtype and tensor.device == first.device
        if group and (size + tensor.nbytes > _MESSAGE_BYTES or not alike):
            _gather_into(found, group)
            group, size = [], 0
        group.append(index)
        size += tensor.nbytes
    _gather_into(found, group)
    return found


def _in_rows(tensor: Any) -> bool:
    """Is it cut along its rows, as FSDP cuts weights?"""
    return len(tensor.placements) == 1 and tensor.placements[0].is_shard(0)


def _gather_into(tensors: list[Tensor], group: list[int]) -> None:
    """Replaces the sharded tensors at the places `group` by full ones."""
    if not group:
        return
    size = dist.get_world_size()
    parts: list[Any] = [tensors[index] for index in group]  # DTensors, cut along their rows
    rows = [-(-len(part) // size) for part in parts]  # of the first process; the last has fewer
    widths = [part.numel() // max(len(part), 1) for part in parts]
    lengths = [count * width for count, width in zip(rows, widths, strict=True)]
    mine = parts[0].to_local().new_zeros(sum(lengths))
    start = 0
    for part, length in zip(parts, lengths, strict=True):
        local = part.to_local().flatten()
        mine[start : start + len(local)] = local
        start += length
    everyone = mine.new_empty(size, len(mine))
    dist.all_gather(list(everyone), mine)
    start = 0
    for index, part, length in zip(group, parts, lengths, strict=True):
        flat = everyone[:, start : start + length].reshape(-1)
        tensors[index] = flat[: part.numel()].view(part.shape).clone()
        start += length


def copy_whole(target: Tensor, source: Tensor) -> None:
    """Copies a full tensor, which every process has, into `target`, which may be sharded."""
    if is_sharded(target):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(target, DTensor)
        source = distribute_tensor(
            source.to(target.device), target.device_mesh, target.placements, src_data_rank=None
        )
    with torch.no_grad():
        target.copy_(source)
