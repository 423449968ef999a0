"""Depth up-scaling (section 7.3): a model made deeper by repeating the layers that change least.

A layer whose output points where its input did can be passed twice with little harm. The block of
neighbouring layers with the highest mean cosine is copied, and the copy is put behind it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrial.errors import UserError


def layers_of(network: Any) -> nn.ModuleList:
    """The decoder layers of a model of Llama's layout.

    Raises:
        UserError: its layers are elsewhere.
    """
    layers = getattr(getattr(network, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not hasattr(network.config, "num_hidden_layers"):
        raise UserError(
            f"{type(network).__name__} is not laid out as Llama (model.layers): name a checkpoint"
            " that is"
        )
    return layers


@torch.no_grad()
def layer_cosines(network: Any, windows: Sequence[Sequence[int]]) -> list[float]:
    """Mean cosine of each layer's input and output over the tokens of windows.

    Args:
        network: of Llama's layout; its mode is the caller's.
        windows: token ids, one forward pass each.
    """
    layers = layers_of(network)
    sums, count = [0.0] * len(layers), 0

    def watch(number: int) -> Any:
        def hook(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            entered = args[0] if args else kwargs["hidden_states"]
            left = output if isinstance(output, Tensor) else output[0]
            sums[number] += float(F.cosine_similarity(entered, left, dim=-1).sum())

        return hook

    hooks = [
        layer.register_forward_hook(watch(number), with_kwargs=True)
        for number, layer in enumerate(layers)
    ]
    try:
        for window in windows:
            network.model(input_ids=torch.tensor([list(window)], device=network.device))
            count += len(window)
    finally:
        for hook in hooks:
            hook.remove()
    return [total / count for total in sums]


def likest_block(cosines: Sequence[float], size: int) -> int:
    """The first layer of the block of `size` neighbours whose mean cosine is highest.

    Raises:
        UserError: there are not so many layers.
    """
    if not 0 < size <= len(cosines):
        raise UserError(f"a block to copy has 1 to {len(cosines)} layers, not {size}")
    means = [sum(cosines[first : first + size]) / size for first in range(len(cosines) - size + 1)]
    return max(range(len(means)), key=means.__getitem__)


def deepen(network: Any, first: int, size: int) -> range:
    """Copies layers and puts the copies behind them, in place.

    Args:
        network: of Llama's layout.
        first: the first layer to copy.
        size: layers to copy.

    Returns:
        The places of the copies.
    """
    layers = layers_of(network)
    end = first + size
    if not 0 <= first < end <= len(layers):
        raise UserError(f"layers {first} to {end - 1} are not among the {len(layers)} there are")
    made = [*layers[:end], *copy.deepcopy(layers[first:end]), *layers[end:]]
    for place, layer in enumerate(made):
        if hasattr(layer.self_attn, "layer_idx"):  # where its keys and values are cached
            layer.self_attn.layer_idx = place
    network.model.layers = nn.ModuleList(made)
    kinds = getattr(network.config, "layer_types", None)
    if kinds:
        network.config.layer_types = [*kinds[:end], *kinds[first:end], *kinds[end:]]
    network.config.num_hidden_layers = len(made)
    return range(end, end + size)
