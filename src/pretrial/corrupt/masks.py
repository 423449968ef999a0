"""Masked tokens, and tokens replaced by samples of a generator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: The label of positions that a cross-entropy leaves out.
IGNORE = -100


class MaskedTokens(NamedTuple):
    """What masking gives.

    Attributes:
        inputs: token ids with the masks in, as the ids given [..., T].
        labels: the original id at the chosen positions, `IGNORE` elsewhere [..., T]. Putting it
            back into `inputs` gives the original.
        chosen: True at the positions to predict [..., T].
    """

    inputs: Tensor
    labels: Tensor
    chosen: Tensor


def mask_tokens(
    ids: Tensor,
    maskable: Tensor,
    *,
    mask_id: int,
    ratio: float,
    generator: torch.Generator,
    mask_prob: float = 1.0,
    random_prob: float = 0.0,
    random_ids: Tensor | None = None,
    exact: bool = True,
) -> MaskedTokens:
    """Chooses positions and hides what stands there.

    A chosen position becomes the mask token with probability `mask_prob`, a random token with
    `random_prob`, and otherwise stays as it is; it is predicted in every case.

    Args:
        ids: token ids [..., T].
        maskable: True where a position may be chosen; False at special tokens and padding [..., T].
        mask_id: id of the mask token.
        ratio: share of the maskable positions of each sequence to choose.
        generator: the only source of randomness.
        mask_prob: BERT 0.8.
        random_prob: BERT 0.1.
        random_ids: the ids that random tokens are drawn from [R]; needed when `random_prob` > 0.
        exact: choose max(1, round(ratio * n)) of the n maskable positions of each sequence; if
            False, each one independently with probability `ratio`.
    """
    scores = torch.rand(ids.shape, generator=generator)
    if exact:
        num_maskable = maskable.sum(-1, keepdim=True)
        num_chosen = (ratio * num_maskable).round().clamp(min=1)
        ranks = scores.masked_fill(~maskable, 2.0).argsort(-1).argsort(-1)
        chosen = (ranks < num_chosen) & maskable
    else:
        chosen = (scores < ratio) & maskable
    fate = torch.rand(ids.shape, generator=generator)
    inputs = ids.masked_fill(chosen & (fate < mask_prob), mask_id)
    if random_prob > 0:
        assert random_ids is not None, "random_prob needs random_ids"
        drawn = random_ids[torch.randint(len(random_ids), ids.shape, generator=generator)]
        swap = chosen & (fate >= mask_prob) & (fate < mask_prob + random_prob)
        inputs = torch.where(swap, drawn, inputs)
    return MaskedTokens(inputs, ids.masked_fill(~chosen, IGNORE), chosen)


def gumbel_noise(
    num_rows: int, num_columns: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard Gumbel noise [num_rows, num_columns]."""
    draws = torch.empty(num_rows, num_columns, device=device).exponential_(generator=generator)
    return -draws.log()


def sample_tokens(
    logits: Tensor, noise: Tensor, temperature: float = 1.0, forbidden: Tensor | None = None
) -> Tensor:
    """Draws from softmax(logits / temperature) by the Gumbel-max trick; carries no gradient.

    Args:
        logits: [N, V].
        noise: standard Gumbel noise [N, V], see `gumbel_noise`.
        temperature: above 0; the smaller, the nearer to argmax.
        forbidden: an id for each row that it must not give [N]; None forbids nothing.

    Returns:
        Token ids [N].
    """
    scores = logits.detach().float() / temperature
    if forbidden is not None:
        scores = scores.scatter(-1, forbidden.unsqueeze(-1), float("-inf"))
    return (scores + noise).argmax(-1)
