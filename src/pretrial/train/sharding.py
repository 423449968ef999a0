"""Sharding a stage's module over processes with FSDP2, and having it whole again in between.

While a stage trains, every process holds a part of each weight, of its gradient and of its
optimiser state. What is done with a module between steps knows nothing of that: evaluations,
sampling, copies and exports find the module as it was built, with weights of now, in every process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from pretrial.train.checkpoint import frozen_prefixes
from pretrial.train.distributed import Losses, is_sharded, wholes
from pretrial.train.stage import Trainable

# What `fully_shard` changes on a module, beside its class
_CHANGED = (
    "_parameters",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class _Look:
    """A module's class, parameters and hooks at one time."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.kind = type(module)
        self.parts = {name: dict(getattr(module, name)) for name in _CHANGED}
        self.names = set(vars(module))

    def put_on(self) -> None:
        self.module.__class__ = self.kind
        for name, part in self.parts.items():
            now = getattr(self.module, name)
            now.clear()
            now.update(part)


class Sharding:
    """The shards of the `Losses` of a module, from construction to `end`.

    Units of their own, gathered when they are computed and given up again, are the elements of
    every outermost ModuleList, as transformers keep their blocks; the rest is one more unit. A
    block that shares a weight with anything outside belongs to the rest, and so does everything
    where a micro-batch may leave out parameters, since all processes must gather together.

    Args:
        losses: around the module; what is called in its place.
        module: frozen modules inside stay whole.
    """

    def __init__(self, losses: Losses, module: Trainable) -> None:
        # these imports take a second, which only sharded runs need to pay
        from torch.distributed.fsdp import fully_shard

        prefixes = frozen_prefixes(module)
        frozen = {p for name, p in module.named_parameters() if name.startswith(prefixes)}
        modules = list(losses.modules())
        self._whole = [_Look(part) for part in modules]
        for block in [] if module.skips_parameters else blocks(module, prefixes):
            fully_shard(block, ignored_params=frozen)
            for part in block.modules():
                if part is not block:
                    part.register_forward_pre_hook(partial(_gather, block))
        fully_shard(losses, ignored_params=frozen)
        self._added = [set(vars(look.module)) - look.names for look in self._whole]
        self._sharded = [_Look(part) for part in modules]
        self._pairs = _pairs(self._whole, self._sharded)
        self._free()

    def _free(self) -> None:
        for original, _ in self._pairs:
            original.data = original.data.new_empty(0)

    def _put_whole(self) -> None:
        from torch.distributed.fsdp import FSDPModule

        for look in self._sharded:
            if isinstance(look.module, FSDPModule):
                look.module.reshard()  # a forward pass without a backward one leaves some gathered
        full = wholes([part for _, part in self._pairs])
        for (original, _), weights in zip(self._pairs, full, strict=True):
            original.data = weights
        for look in self._whole:
            look.put_on()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside the block every process has the whole module; all must enter together.

        Changes made to weights inside are lost.
        """
        self._put_whole()
        try:
            yield
        finally:
            for look in self._sharded:
                look.put_on()
            self._free()

    def end(self) -> None:
        """The module is whole from now on, and may be sharded again as part of another."""
        from torch.distributed._composable_state import _module_state_mapping

        self._put_whole()
        for look, names in zip(self._whole, self._added, strict=True):
            for name in names:
                vars(look.module).pop(name, None)
            _module_state_mapping.pop(look.module, None)


def _gather(block: Any, part: nn.Module, _: Any) -> None:
    """Gathers a block whose part is called by itself; it stays gathered until its gradients go."""
    if any(p is not None and is_sharded(p) for p in part._parameters.values()):
        block.unshard()


def _pairs(before: list[_Look], after: list[_Look]) -> list[tuple[nn.Parameter, Any]]:
    """(parameter, its sharded stand-in), each once however many names it has."""
    found: dict[int, tuple[nn.Parameter, Any]] = {}
    for old, new in zip(before, after, strict=True):
        for name, original in old.parts["_parameters"].items():
            part = new.parts["_parameters"][name]
            if original is not None and part is not original:
                found[id(original)] = (original, part)
    return list(found.values())


def blocks(module: nn.Module, left_out: tuple[str, ...] = ()) -> list[nn.Module]:
    """The elements of outermost ModuleLists that own their weights alone.

    Args:
        module: where to look.
        left_out: prefixes of names to pass over.
    """
    found: dict[nn.Module, None] = {}
    inside: tuple[str, ...] = left_out
    for name, child in module.named_modules():
        if isinstance(child, nn.ModuleList) and not f"{name}.".startswith(inside):
            inside = (*inside, f"{name}.")
            found |= dict.fromkeys(child)
    places: dict[int, int] = {}
    for child in module.modules():
        for parameter in child.parameters(recurse=False):
            places[id(parameter)] = places.get(id(parameter), 0) + 1
    return [block for block in found if _computes(block) and _owns(block, places)]


def _computes(block: nn.Module) -> bool:
    """Has it a forward pass, which gathers its weights?"""
    return type(block).forward is not nn.Module.forward and any(True for _ in block.parameters())


def _owns(block: nn.Module, places: dict[int, int]) -> bool:
    own: dict[int, int] = {}
    for child in block.modules():
        for parameter in child.parameters(recurse=False):
            own[id(parameter)] = own.get(id(parameter), 0) + 1
    return all(places[key] == count for key, count in own.items())
