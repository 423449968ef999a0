"""Losses of token predictions: sums over positions, divided by a count that the caller gives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def token_loss(logits: Tensor, targets: Tensor, count: float) -> Tensor:
    """Cross-entropy of the right tokens.

    Args:
        logits: [N, V].
        targets: the right token ids [N].
        count: what the sum is divided by.
    """
    return F.cross_entropy(logits.float(), targets, reduction="sum") / count


def replaced_token_loss(
    logits: Tensor, replaced: Tensor, loss_mask: Tensor, count: float
) -> Tensor:
    """Binary cross-entropy of "this token was replaced".

    Args:
        logits: of "replaced" [B, T].
        replaced: True where the token is not the original one [B, T].
        loss_mask: True at the positions that count [B, T].
        count: what the sum is divided by.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), replaced.float(), reduction="none")
    return losses.masked_fill(~loss_mask, 0.0).sum() / count


def copy_gate_loss(
    logits: Tensor, gate: Tensor, inputs: Tensor, targets: Tensor, count: float
) -> Tensor:
    """Cross-entropy of a mixture: with probability sigmoid(gate) the input token is the answer,
    else the answer is drawn from softmax(logits).

    Args:
        logits: [N, V].
        gate: logit of copying [N].
        inputs: token ids that were seen [N].
        targets: the right token ids [N].
        count: what the sum is divided by.
    """
    predicted = F.logsigmoid(-gate.float()) - F.cross_entropy(
        logits.float(), targets, reduction="none"
    )
    both = torch.logaddexp(predicted, F.logsigmoid(gate.float()))
    return -torch.where(inputs == targets, both, predicted).sum() / count


def distillation_loss(teacher: Tensor, student: Tensor, loss_mask: Tensor, count: float) -> Tensor:
    """KL(teacher || student) of the next token; only the student gets a gradient.

    Args:
        teacher: its logits [N, V].
        student: logits [N, V'].
        loss_mask: True at the positions that count [N].
        count: what the sum is divided by.

    The larger vocabulary is cut to the other's size: both must number their tokens alike.
    """
    shared = min(teacher.shape[1], student.shape[1])
    wanted = F.log_softmax(teacher[:, :shared].detach().float(), dim=-1)
    found = F.log_softmax(student[:, :shared].float(), dim=-1)
    losses = F.kl_div(found, wanted, reduction="none", log_target=True).sum(-1)
    return losses.masked_fill(~loss_mask, 0.0).sum() / count
