"""From a classifier's encoder to one that is pre-trained, and back with what that has learned."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.methods.text.never_from_scratch.network.attention import SequenceAttention
from pretrial.methods.text.never_from_scratch.network.encoder import LongSequenceModel

#: The parameters of a kernel that has one set for each direction, by the ends of their names.
_OUTPUTS = ("kernel.C", "kernel.W")


@torch.no_grad()
def for_masking(encoder: LongSequenceModel) -> LongSequenceModel:
    """A copy; that of a signal reads x (1 - m) and m, through one more column drawn anew."""
    made = copy.deepcopy(encoder)
    if not made.config.vocab_size:
        old: Any = encoder.embed
        wider = nn.Linear(2, old.out_features, device=old.weight.device, dtype=old.weight.dtype)
        wider.weight[:, :1].copy_(old.weight)
        wider.bias.copy_(old.bias)
        made.embed = wider
        made.config.num_channels = 2
    return made


@torch.no_grad()
def for_causal(encoder: LongSequenceModel) -> LongSequenceModel:
    """A copy that sees the past alone: attention is causal, and kernels have their first direction.

    The other direction of a kernel has nothing to learn here.
    """
    made = copy.deepcopy(encoder)
    for module in made.modules():
        if isinstance(module, SequenceAttention):
            module.causal = True
    if made.config.bidirectional:
        for name, parameter in list(made.named_parameters()):
            if name.endswith(_OUTPUTS):
                owner, _, own = name.rpartition(".")
                setattr(made.get_submodule(owner), own, nn.Parameter(parameter[0].clone()))
    return made


def hand_over(pretrained: LongSequenceModel, encoder: LongSequenceModel) -> None:
    """Loads into a classifier's encoder what a copy of it has learned.

    The column of the mask is cut off, and a second direction that was not trained stays.
    """
    state: dict[str, Tensor] = dict(pretrained.state_dict())
    own = encoder.state_dict()
    for name, value in state.items():
        if name == "embed.weight" and value.shape != own[name].shape:
            state[name] = value[:, :1]
        elif name.endswith(_OUTPUTS) and value.shape != own[name].shape:
            state[name] = torch.stack([value, own[name][1].to(value.device)])
    encoder.load_state_dict(state)
