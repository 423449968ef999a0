"""Contrastive losses over the batches of all processes, a queue, and negatives that are hard.

A method whose loss compares examples sets `compares_examples`, so that a process's share of a step
is one forward pass. Each loss here is this process's part: the sum over its own queries, divided by
a count of all. So two processes learn what one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pretrial.corrupt.masks import gumbel_noise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pretrial.objectives.queue import KeyQueue


class _Gather(torch.autograd.Function):
    """Rows of all processes; a row's gradient is the sum of what all processes give it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.num_rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        start = dist.get_rank() * ctx.num_rows
        return grad[start : start + ctx.num_rows]


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks; in one process those given.

    Gradients flow back to the process that a row comes from.

    Args:
        rows: [N, ...], of the same shape in every process.
    """
    return _Gather.apply(rows.contiguous()) if _num_processes() > 1 else rows


def own_rows(num_rows: int, device: torch.device | str | None = None) -> Tensor:
    """Where this process's `num_rows` rows stand among those that `gathered` gives [num_rows]."""
    rank = dist.get_rank() if _num_processes() > 1 else 0
    return torch.arange(num_rows, device=device) + rank * num_rows


def _num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def info_nce(
    queries: Tensor,
    keys: Tensor,
    temperature: float | Tensor,
    count: float,
    *,
    queue: KeyQueue | None = None,
    in_batch: bool = True,
) -> Tensor:
    """InfoNCE: each query is told from all keys which one is its own.

    Scores are products of the vectors as they are given: normalise them for cosines.

    Args:
        queries: [B, d], of this process.
        keys: the keys of these queries [B, d]; without gradients where they come from a momentum
            encoder.
        temperature: what scores are divided by.
        count: what the sum over queries is divided by: the queries of all processes.
        queue: its vectors are further negatives.
        in_batch: the keys of the other queries, in all processes, are negatives.

    Returns:
        The loss; exactly 0 without negatives.
    """
    if in_batch:
        scores, right = queries @ gathered(keys).T, own_rows(len(queries), queries.device)
    else:
        scores = (queries * keys).sum(1, keepdim=True)
        right = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    if queue is not None:
        # a copy, for `push` changes the queue in place; and all places, for the shape must not
        # depend on how many of them are filled
        past = queries @ queue.keys.to(queries.dtype).T.clone()
        scores = torch.cat([scores, past.masked_fill(~queue.is_filled, float("-inf"))], dim=1)
    return F.cross_entropy(scores.float() / temperature, right, reduction="sum") / count


def nt_xent(ones: Tensor, others: Tensor, temperature: float, count: float) -> Tensor:
    """NT-Xent (SimCLR, arXiv 2002.05709): two views of an example find each other among all views.

    Similarities are cosines. Each view is asked for its partner; negatives are both views of all
    other examples, in all processes, so 2 N - 2 of them. The two directions are averaged.

    Args:
        ones: vectors of the first views [B, d], of this process.
        others: of the second views, in the same order [B, d].
        temperature: what cosines are divided by.
        count: what the sum over examples is divided by: the examples of all processes.

    Returns:
        The loss; exactly 0 without negatives.
    """
    ones, others = F.normalize(ones, dim=-1), F.normalize(others, dim=-1)
    every = torch.cat([gathered(ones), gathered(others)])  # [2 N, d]
    scores = torch.cat([ones, others]) @ every.T / temperature  # [2 B, 2 N]
    rows = own_rows(len(ones), ones.device)
    itself = torch.cat([rows, rows + len(every) // 2])
    partner = itself.roll(len(ones))
    scores = scores.scatter(1, itself[:, None], float("-inf"))
    return F.cross_entropy(scores.float(), partner, reduction="sum") / (2 * count)


def hard_negatives(
    scores: Tensor, allowed: Tensor, temperature: float | Tensor, seeds: Iterable[int]
) -> Tensor:
    """Draws one negative a row, the likelier the more it resembles what it is to be told from.

    The probability is softmax(scores / temperature) over the allowed ones, as in ALBEF (arXiv
    2107.07651). Carries no gradient.

    Args:
        scores: similarities [B, N].
        allowed: True where a candidate may be drawn [B, N]; in every row at least once.
        temperature: the smaller, the harder; infinity draws uniformly.
        seeds: one a row, so that the draw does not depend on how rows are spread over processes.

    Returns:
        Places of the candidates [B].
    """
    device, width = scores.device, scores.shape[1]
    noise = torch.cat([gumbel_noise(1, width, int(seed), device) for seed in seeds])
    logits = scores.detach().float() / temperature + noise
    return logits.masked_fill(~allowed, float("-inf")).argmax(1)
