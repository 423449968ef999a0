"""Losses of routers that send tokens to experts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def balance_loss(logits: Tensor, chosen: int, count: float) -> Tensor:
    """How unevenly the tokens of each sequence are spread, `chosen` where they are even.

    For a sequence it is the number of experts times the sum over them of the tokens that are sent
    there and the mean probability, both as shares (Fedus and others 2021); sequences are told
    apart, so that the loss of a batch is the sum over its parts.

    Args:
        logits: of the routers [L, B, T, E]; the mean over the L layers is taken.
        chosen: experts for a token, the likeliest ones.
        count: what the sum over sequences is divided by.
    """
    num_experts = logits.shape[-1]
    probs = logits.float().softmax(-1)
    sent = one_hot(probs.topk(chosen, dim=-1).indices, num_experts).sum(-2).float()  # [L, B, T, E]
    each = num_experts * (sent.mean(2) * probs.mean(2)).sum(-1)  # [L, B]
    return each.mean(0).sum() / count


def router_loss(logits: Tensor, count: float) -> Tensor:
    """Squares of the log of the routers' partition functions, the mean over tokens and layers.

    Args:
        logits: [L, B, T, E].
        count: what the sum over sequences is divided by.
    """
    return torch.logsumexp(logits.float(), -1).square().mean((0, 2)).sum() / count
