"""Several processes: joined from the launcher's environment, DDP or FSDP2 around a module's losses.

`torchrun` and `accelerate launch` set RANK, WORLD_SIZE and LOCAL_RANK; nothing else is read. Plain
Python objects and float64 sums travel over gloo also on GPUs, so that they never wait for a kernel.
The run folder must be on a disk that all processes see.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretrial.train.method import Batch, Trainable
from pretrial.train.stop import Stopped

# One process may work for days on an artefact while the others wait for it.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """The processes of this run. With one process every method costs nothing.

    Attributes:
        rank: number of this process.
        size: number of processes.
        local_rank: number of this process on its machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """True in the process that writes files and speaks to the user."""
        return self.rank == 0

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
    return World(rank, size, local_rank)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class Losses(nn.Module):
    """A module whose forward is `losses`, since DDP and `torch.compile` wrap a forward.

    The parts that are only logged are detached, so that nobody waits for their gradients.
    """

    def __init__(self, module: Trainable) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses = self.module.losses(batch)
        return {name: part if name == "loss" else part.detach() for name, part in losses.items()}


def replicate(losses: nn.Module, module: Trainable) -> nn.Module:
    """The `Losses` of a module under DistributedDataParallel.

    With more than two processes the order in which DDP adds gradients up can differ after a resume,
    and with it the last bit of a weight.
    """
    return DistributedDataParallel(losses, find_unused_parameters=module.skips_parameters)


def shard(module: Trainable, world: World, frozen: nn.Module | None) -> None:
    """Shards the module in place with FSDP2: each element of a ModuleList, then the rest.

    Args:
        module: what to shard; with one process, or when it is sharded already, it is left as it is.
        world: the processes.
        frozen: modules inside that are never trained; every process keeps them whole.
    """
    # these imports take a second, which only sharded runs need to pay
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    if world.size == 1 or isinstance(module, FSDPModule):
        return
    left_out = set(frozen.modules()) if frozen is not None else set()
    ignored = set(frozen.parameters()) if frozen is not None else set()
    for child in list(module.modules()):
        if isinstance(child, nn.ModuleList) and child not in left_out:
            for block in child:
                fully_shard(block, ignored_params=ignored)
    fully_shard(module, ignored_params=ignored)
    register_fsdp_forward_method(module, "losses")


@contextmanager
def accumulating(wrapped: nn.Module, module: nn.Module) -> Iterator[None]:
    """Inside the block gradients are added up in each process, and not exchanged."""
    set_sync = getattr(module, "set_requires_gradient_sync", None)  # sharded modules have it
    if set_sync is not None:
        set_sync(False)
        yield
        set_sync(True)
    elif isinstance(wrapped, DistributedDataParallel):
        with wrapped.no_sync():
            yield
    else:
        yield


def is_sharded(tensor: Tensor) -> bool:
    """True for a DTensor, of which this process holds a part."""
    return hasattr(tensor, "device_mesh")


def whole(tensor: Tensor) -> Tensor:
    """The full tensor, detached; all processes must ask for a sharded one together."""
    if is_sharded(tensor):
        from torch.distributed.tensor import DTensor

        assert isinstance(tensor, DTensor)
        tensor = tensor.full_tensor()
    return tensor.detach()


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
