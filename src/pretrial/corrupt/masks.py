"""Masked tokens, and tokens replaced by samples of a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pretrial.corrupt.whole_words import choose_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    chosen: Tensor | None = None,
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
        chosen: True at positions that were chosen otherwise, such as whole words [..., T].
    """
    if chosen is None:
        chosen = _choose(maskable, ratio, exact, generator)
    fate = torch.rand(ids.shape, generator=generator)
    inputs = ids.masked_fill(chosen & (fate < mask_prob), mask_id)
    if random_prob > 0:
        assert random_ids is not None, "random_prob needs random_ids"
        drawn = random_ids[torch.randint(len(random_ids), ids.shape, generator=generator)]
        swap = chosen & (fate >= mask_prob) & (fate < mask_prob + random_prob)
        inputs = torch.where(swap, drawn, inputs)
    return MaskedTokens(inputs, ids.masked_fill(~chosen, IGNORE), chosen)


def _choose(maskable: Tensor, ratio: float, exact: bool, generator: torch.Generator) -> Tensor:
    """True at the chosen positions; see `mask_tokens`."""
    scores = torch.rand(maskable.shape, generator=generator)
    if not exact:
        return (scores < ratio) & maskable
    num_chosen = (ratio * maskable.sum(-1, keepdim=True)).round().clamp(min=1)
    ranks = scores.masked_fill(~maskable, 2.0).argsort(-1).argsort(-1)
    return (ranks < num_chosen) & maskable


def gumbel_noise(
    num_rows: int, num_columns: int, seed: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard Gumbel noise of a seed [num_rows, num_columns]; no values on the meta device."""
    on_meta = torch.device(device).type == "meta"  # which has shapes to compute, but no generators
    generator = None if on_meta else torch.Generator(device).manual_seed(seed)
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


def mask_windows(
    windows: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase,
    generator: torch.Generator,
    *,
    ratio: float,
    whole_words: bool = False,
    **how: Any,
) -> dict[str, Any]:
    """A batch of masked sequences, each closed in [CLS] and [SEP].

    Each window is masked by a generator of its own, seeded from `generator`: what is hidden in it
    depends neither on the padding nor on the way the batch is split.

    Args:
        windows: token ids without special tokens.
        tokenizer: gives the special tokens, which are never chosen.
        generator: the only source of randomness.
        ratio: share of the ordinary tokens of each window to choose.
        whole_words: choose words, as many as fit into that share, and all tokens of each.
        how: `mask_prob`, `random_prob`, `exact` of `mask_tokens`.

    Returns:
        ids: the original tokens [B, T].
        inputs: with the masks in [B, T].
        real: True where there is a token, False at padding [B, T].
        positions: chosen positions as indices into the flattened [B * T], ascending [N].
        num_chosen: how many of them lie in each sequence [B].
        seeds: a fresh seed for each sequence, for what is drawn later on [B].
        counts: "examples", "tokens" (padding not counted) and "masked".
        The first three are tensors; positions, numbers and seeds are numpy arrays, since they are
        asked on the host, and since batches of one [B, T] then count as one shape of work.
    """
    special = set(tokenizer.all_special_ids)
    random_ids = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    seeds = torch.randint(2**62, (len(windows),), generator=generator).numpy()
    length = max(map(len, windows)) + 2
    ids = torch.full((len(windows), length), int(tokenizer.pad_token_id))
    inputs, chosen = ids.clone(), torch.zeros_like(ids, dtype=torch.bool)
    real = torch.zeros_like(chosen)
    for row, window in enumerate(windows):
        own = torch.Generator().manual_seed(int(seeds[row]))
        tokens = torch.tensor([tokenizer.cls_token_id, *window, tokenizer.sep_token_id])
        maskable = torch.tensor([False, *(token not in special for token in window), False])
        words = choose_words(tokens, maskable, tokenizer, ratio, own) if whole_words else None
        masked = mask_tokens(
            tokens,
            maskable,
            ratio=ratio,
            chosen=words,
            mask_id=int(tokenizer.mask_token_id),
            random_ids=random_ids,
            generator=own,
            **how,
        )
        end = len(tokens)
        ids[row, :end], inputs[row, :end], chosen[row, :end] = tokens, masked.inputs, masked.chosen
        real[row, :end] = True
        seeds[row] = torch.randint(2**62, (), generator=own)
    positions = chosen.flatten().nonzero().squeeze(-1).numpy()
    counts = {
        "examples": float(len(windows)),
        "tokens": float(real.sum()),
        "masked": float(len(positions)),
    }
    return {
        "ids": ids,
        "inputs": inputs,
        "real": real,
        "positions": positions,
        "num_chosen": chosen.sum(-1).numpy(),
        "seeds": seeds,
        "counts": counts,
    }
