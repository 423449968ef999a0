"""Policy gradients from outcomes: returns, per-token weights, and the loss."""

from __future__ import annotations

import torch
from torch import Tensor

# Return of a program by its outcome class: compile error, runtime error, failed test, passed
# (CodeRL, section 3.2).
RETURNS = (-1.0, -0.6, -0.3, 1.0)


def advantage(outcome: int, baseline: int | None = None) -> float:
    """r(W) - r(W_baseline); without a baseline, r(W) alone.

    Args:
        outcome: class of the sampled program, 0 to 3.
        baseline: class of the greedy program for the same problem.
    """
    return RETURNS[outcome] - (0.0 if baseline is None else RETURNS[baseline])


def linear_weights(length: int) -> Tensor:
    """Weights [length] falling linearly from 1 to 1/length: the ablation of the critic's scores."""
    return torch.arange(length, 0, -1, dtype=torch.float32) / length


def policy_gradient_loss(
    log_probs: Tensor, weights: Tensor, count: float, negative_floor: float | None = None
) -> Tensor:
    """-sum_t weights_t * log p(w_t) / count.

    Its gradient is CodeRL's equation for one Monte-Carlo sample a problem, with
    weights_t = (r(W) - r(W_b)) * q(w_t), constants.

    Args:
        log_probs: [B, T].
        weights: [B, T]; 0 at padding.
        count: what the sum is divided by (tokens of the step, or its programs).
        negative_floor: a token whose log-probability is below it is not pushed down further; an
            unlikely token of a bad program would otherwise drag the loss to minus infinity.
    """
    weights = weights.detach()
    if negative_floor is not None:
        spent = (weights < 0) & (log_probs.detach() < negative_floor)  # True: low enough already
        weights = weights.masked_fill(spent, 0.0)
    return -(weights * log_probs).sum() / count
