"""Policy gradients from outcomes: returns, per-token weights, and the loss."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

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


def group_advantages(returns: Sequence[float], *, leave_one_out: bool = False) -> list[float]:
    """What the returns of one problem's programs say of each, without a greedy program.

    Args:
        returns: of the programs that were sampled for one problem.
        leave_one_out: subtract the mean of the others (RLOO, arXiv 2402.14740). Otherwise the mean
            of all is subtracted and the difference divided by their spread (GRPO, arXiv
            2402.03300).

    Returns:
        One number a program; all 0 where the returns are all the same.
    """
    count, mean = len(returns), statistics.fmean(returns)
    if leave_one_out:
        return [(r - mean) * count / (count - 1) if count > 1 else 0.0 for r in returns]
    spread = statistics.pstdev(returns)
    return [(r - mean) / spread if spread else 0.0 for r in returns]


def prefix_credit(programs: Sequence[Sequence[int]], returns: Sequence[float]) -> list[list[float]]:
    """Where the programs of one problem went wrong, by counting: a critic without a network.

    A prefix is worth the mean return of the programs that begin with it. A token's credit is what
    the worth lost by it, as a share of what the problem's programs are worth at all: 0 where
    nothing was lost, -1 in sum where everything was.

    Args:
        programs: tokens of programs that were sampled for one problem.
        returns: of each, 0 (failed) to 1 (passed).

    Returns:
        Numbers from -1 to 0, one a token, for each program; all 0 where no program is worth
        anything.
    """
    count, total = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    for ids, value in zip(programs, returns, strict=True):
        for end in range(len(ids) + 1):
            count[tuple(ids[:end])] += 1
            total[tuple(ids[:end])] += value  # type: ignore[assignment]  # a sum of floats
    whole = total[()] / max(count[()], 1)
    found = []
    for ids in programs:
        worth = [total[key] / count[key] for key in (tuple(ids[:i]) for i in range(len(ids) + 1))]
        drops = [min(0.0, worth[i + 1] - worth[i]) for i in range(len(ids))]
        found.append([drop / whole if whole else 0.0 for drop in drops])
    return found


def kl_estimate(log_probs: Tensor, reference: Tensor) -> Tensor:
    """KL(policy || reference) at tokens that the policy sampled; unbiased and never negative.

    Args:
        log_probs: of the policy, of any shape.
        reference: of the model that it is held near to, of the same shape.

    Returns:
        exp(d) - d - 1 with d = reference - log_probs (GRPO, arXiv 2402.03300).
    """
    difference = reference.detach() - log_probs
    return difference.exp() - difference - 1


def policy_gradient_loss(
    log_probs: Tensor,
    weights: Tensor,
    count: float,
    negative_floor: float | None = None,
    clip: float = 0.0,
    sampled: Tensor | None = None,
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
        clip: with `sampled`, the ratio to the probability at sampling counts in place of log p, and
            no further than 1 +- `clip` (PPO, arXiv 1707.06347); 0 for none.
        sampled: [B, T], log-probabilities of the tokens when they were sampled.
    """
    weights = weights.detach()
    if negative_floor is not None:
        spent = (weights < 0) & (log_probs.detach() < negative_floor)  # True: low enough already
        weights = weights.masked_fill(spent, 0.0)
    if not clip or sampled is None:
        return -(weights * log_probs).sum() / count
    ratio = (log_probs - sampled.detach()).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(weights * ratio, weights * clipped).sum() / count
