"""What is done to a stage's module before it is trained."""

from __future__ import annotations

import torch
from torch import nn

from pretrial.train import checkpoint

_ALIGNMENT = 64  # bytes, of torch's own memory on the CPU


def freeze(module: nn.Module) -> None:
    """Puts all `frozen` modules inside into eval mode and without gradients.

    What adapters leave as it is has none either.
    """
    for prefix in checkpoint.frozen_prefixes(module):
        module.get_submodule(prefix.removesuffix(".")).eval().requires_grad_(False)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name in checkpoint.base_names(module):
        parameters[name].requires_grad_(False)


def align(module: nn.Module) -> None:
    """Gives weights that are mapped from a file memory of their own, placed as torch places it.

    Where a factor stands in memory decides the last bits of a product on some processors, and a
    file may hold its weights anywhere.
    """
    moved: dict[int, torch.UntypedStorage] = {}
    for weight in (*module.parameters(), *module.buffers()):
        storage = weight.untyped_storage()
        place = storage.data_ptr()
        if place % _ALIGNMENT:
            if place not in moved:
                moved[place] = storage.clone()
            where = (weight.storage_offset(), weight.shape, weight.stride())
            weight.data = weight.data.new_empty(0).set_(moved[place], *where)


def set_dropout(network: nn.Module, prob: float) -> None:
    """Sets the probability of all dropout layers, such as for a stage that has another."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = prob
