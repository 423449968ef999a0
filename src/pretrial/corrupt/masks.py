"""Masked tokens, and tokens replaced by samples of a generator."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.corrupt.draws import choose, row_bits, row_integers, row_seeds, row_uniform
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
    mask_prob: float = 1.0,
    random_prob: float = 0.0,
    exact: bool = True,
    whole_words: bool = False,
) -> dict[str, Any]:
    """A batch of masked sequences, each closed in [CLS] and [SEP]; see `mask_tokens`.

    Each window is masked from a seed of its own, drawn from `generator`: what is hidden in it
    depends neither on the padding nor on the way the batch is split.

    Args:
        windows: token ids without special tokens.
        tokenizer: gives the special tokens, which are never chosen.
        generator: the only source of randomness.
        ratio: share of the ordinary tokens of each window to choose.
        mask_prob: share of the chosen that becomes the mask token.
        random_prob: share of the chosen that becomes a random ordinary token.
        exact: as in `mask_tokens`; without meaning for whole words.
        whole_words: choose words, as many as fit into that share, and all tokens of each.

    Returns:
        input_ids: with the masks in [B, T].
        attention_mask: True where there is a token, False at padding [B, T].
        labels: the original tokens, at all positions [B, T].
        loss_mask: True at the chosen positions, which are to be predicted [B, T].
        positions: their indices into the flattened [B * T], ascending [N]; see `chosen_of`.
        num_chosen: how many of them lie in each sequence [B].
        seeds: a fresh seed for each sequence, for what is drawn later on [B].
        counts: "examples", "tokens" (padding not counted) and "masked".
        The first four are tensors. The others are numpy arrays, which stay on the host: a GPU does
        not wait for them, a dry run has their values, and batches of one [B, T] count as one shape
        of work.
    """
    is_special, ordinary = _kinds(tokenizer, len(tokenizer))
    seeds = row_seeds(len(windows), generator)
    ids, attention_mask = _closed(windows, tokenizer)
    maskable = attention_mask & ~is_special[ids]
    if whole_words:
        chosen = _chosen_words(ids, maskable, tokenizer, ratio, seeds)
    elif exact:
        num_maskable = maskable.sum(1)
        num_chosen = np.maximum(np.rint(ratio * num_maskable), num_maskable > 0).astype(np.int64)
        chosen = np.zeros_like(maskable)
        # places among the maskable ones of a row, which come in this order
        found = choose(seeds, num_maskable, num_chosen, stream=1)
        chosen[maskable] = found[np.arange(found.shape[1]) < num_maskable[:, None]]
    else:
        chosen = maskable & (row_uniform(seeds, ids.shape[1], stream=1) < ratio)
    fate = row_uniform(seeds, ids.shape[1], stream=2)
    inputs = np.where(chosen & (fate < mask_prob), tokenizer.mask_token_id, ids)
    if random_prob > 0:
        swap = chosen & (fate >= mask_prob) & (fate < mask_prob + random_prob)
        sizes = np.full(len(ids), len(ordinary))
        inputs[swap] = ordinary[row_integers(seeds, ids.shape[1], sizes, stream=3)[swap]]
    positions = chosen.ravel().nonzero()[0]
    counts = {
        "examples": float(len(windows)),
        "tokens": float(attention_mask.sum()),
        "masked": float(len(positions)),
    }
    return {
        "input_ids": torch.from_numpy(inputs),
        "attention_mask": torch.from_numpy(attention_mask),
        "labels": torch.from_numpy(ids),
        "loss_mask": torch.from_numpy(chosen),
        "positions": positions,
        "num_chosen": chosen.sum(1),
        "seeds": (row_bits(seeds, 1, stream=4)[:, 0] >> np.uint64(2)).astype(np.int64),
        "counts": counts,
    }


def chosen_of(values: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """What stands at the positions that a batch's loss counts [N, ...], of values [B, T, ...].

    It is `values[batch["loss_mask"]]`, from positions that are known on the host.
    """
    return values.flatten(0, 1)[batch["positions"]]


@lru_cache(maxsize=8)
def _kinds(
    tokenizer: PreTrainedTokenizerBase, size: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Where a vocabulary of `size` has special tokens [V], and the ids of all others."""
    is_special = np.zeros(size, dtype=bool)
    is_special[tokenizer.all_special_ids] = True
    return is_special, (~is_special).nonzero()[0]


def _closed(
    windows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids with the special tokens and padding [B, T], and True where there is a token."""
    begin, end = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
    flat = array("q")
    for window in windows:
        flat.append(begin)
        flat.fromlist(window if isinstance(window, list) else list(window))
        flat.append(end)
    lengths = np.array([len(window) + 2 for window in windows])
    attention_mask = np.arange(int(lengths.max())) < lengths[:, None]
    ids = np.full(attention_mask.shape, int(tokenizer.pad_token_id))
    ids[attention_mask] = np.frombuffer(flat, dtype=np.int64)
    return ids, attention_mask


def _chosen_words(
    ids: NDArray[np.int64],
    maskable: NDArray[np.bool_],
    tokenizer: PreTrainedTokenizerBase,
    ratio: float,
    seeds: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """True at the tokens of the words that are chosen [B, T]; see `choose_words`."""
    rows = []
    for tokens, free, seed in zip(ids, maskable, seeds, strict=True):
        own = torch.Generator().manual_seed(int(seed))
        parts = torch.from_numpy(tokens), torch.from_numpy(free)
        rows.append(choose_words(*parts, tokenizer, ratio, own).numpy())
    return np.array(rows)
