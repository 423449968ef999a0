"""Collators side by side: tokens a second of span corruption and of masking, one core.

    python bench/collators.py            # a minute

Span corruption. Peer: the numpy collator of transformers' example run_t5_mlm_flax.py (Apache-2.0,
HuggingFace), which follows the preprocessing of google-research/text-to-text-transfer-transformer
(Apache-2.0). Examples are not part of the installed package, so the peer here is a numpy program of
the same algorithm, written for this comparison: one mask for each sequence from two random
partitions, then sentinels and the removal of hidden tokens for the whole batch. It needs sequences
of one length; ours also takes unequal ones, whole words and lengths of another law.

Masking. Peer: `transformers.DataCollatorForLanguageModeling` as installed, called as its users do
(a list of dicts of token ids), and called with `special_tokens_mask` at hand, which spares it the
search for special tokens.

Both start from the same lists of token ids and end in tensors for the model; processor time is
compared, ways taking turns, medians of the ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.corrupt.masks import mask_windows
from pretrial.corrupt.spans import span_corruption_batch
from pretrial.models.tokenizers import learn_bpe, sentinel_ids

RATIO, MEAN_LENGTH = 0.15, 3.0


def partition(rng: np.random.Generator, total: int, parts: int) -> NDArray[np.int64]:
    """Lengths of `parts` non-empty parts of `total`, all partitions equally likely."""
    first = np.arange(total - 1) < parts - 1
    rng.shuffle(first)
    return np.bincount(np.cumsum(np.concatenate([[False], first])), minlength=parts)


def hidden_mask(rng: np.random.Generator, length: int) -> NDArray[np.bool_]:
    """True at hidden tokens; spans alternate, beginning with visible ones."""
    num_hidden = min(max(round(length * RATIO), 1), length - 1)
    num_spans = max(round(num_hidden / MEAN_LENGTH), 1)
    hidden = partition(rng, num_hidden, num_spans)
    visible = partition(rng, length - num_hidden, num_spans)
    ends = np.stack([visible, hidden], axis=1).reshape(-1).cumsum()[:-1]
    starts = np.zeros(length, dtype=np.int8)
    starts[ends] = 1
    return np.cumsum(starts) % 2 == 1


def with_sentinels(
    ids: NDArray[np.int64], hidden: NDArray[np.bool_], first_sentinel: int, eos: int
) -> NDArray[np.int64]:
    """The batch [B, T] with a sentinel for each hidden span, and the end token."""
    starts = hidden & ~np.roll(hidden, 1, axis=-1)
    starts[:, 0] = hidden[:, 0]
    sentinels = first_sentinel + np.cumsum(starts, axis=-1) - 1
    kept = np.where(starts, sentinels, ids)[~hidden | starts].reshape(len(ids), -1)
    return np.concatenate([kept, np.full((len(ids), 1), eos)], axis=-1)


def peer_spans(rows: Sequence[Sequence[int]], first_sentinel: int, eos: int, seed: int) -> Any:
    """Inputs and labels of a batch by the peer's algorithm."""
    rng = np.random.default_rng(seed)
    ids = np.array(rows)
    hidden = np.asarray([hidden_mask(rng, ids.shape[1]) for _ in rows])
    inputs = with_sentinels(ids, hidden, first_sentinel, eos)
    labels = with_sentinels(ids, ~hidden, first_sentinel, eos)
    return torch.from_numpy(inputs), torch.from_numpy(labels)


def our_spans(rows: Sequence[Sequence[int]], sentinels: Sequence[int], eos: int, seed: int) -> Any:
    """A batch of ours: corrupted, padded, with mask and counts."""
    generator = torch.Generator().manual_seed(seed)
    return span_corruption_batch(rows, sentinels, generator=generator, eos=eos, pad=0)


def our_masks(rows: Sequence[Sequence[int]], tokenizer: Any, seed: int) -> Any:
    """A batch of ours: 80 % masks, 10 % random tokens."""
    generator = torch.Generator().manual_seed(seed)
    return mask_windows(rows, tokenizer, generator, ratio=RATIO, mask_prob=0.8, random_prob=0.1)


def peer_masks(library: Any, rows: Sequence[Sequence[int]], special: Any, seed: int) -> Any:
    """The peer's batch, which draws from torch's global generator whatever the seed."""
    if special is None:
        return library([{"input_ids": row} for row in rows])
    pairs = zip(rows, special, strict=True)
    return library([{"input_ids": row, "special_tokens_mask": mask} for row, mask in pairs])


def compare(
    name: str, ours: Callable[[int], Any], theirs: Callable[[int], Any], tokens: int
) -> None:
    """Prints tokens a second of two ways that take turns."""
    rates: list[tuple[float, float]] = []
    for seed in range(30):
        seconds = []
        for way in (ours, theirs):
            began = time.process_time()
            for repeat in range(4):
                way(4 * seed + repeat)
            seconds.append(time.process_time() - began)
        if seed >= 5:
            rates.append((4 * tokens / seconds[0], 4 * tokens / seconds[1]))
    mine, peer = (statistics.median(rate[i] for rate in rates) for i in (0, 1))
    ratio = statistics.median(a / b for a, b in rates)
    print(
        f"{name:<44} ours {mine / 1e6:6.2f}  peer {peer / 1e6:6.2f} M tokens/s  ratio {ratio:5.2f}"
    )


def main() -> None:
    """Both comparisons, at the lengths of T5 (512) and of short functions (128)."""
    from transformers import DataCollatorForLanguageModeling

    torch.set_num_threads(1)
    texts = ["def area(width, height):\n    return width * height\n"] * 3
    tokenizer = learn_bpe(texts, 400, num_sentinels=100, template="<cls> $A <sep>")
    sentinels, eos = sentinel_ids(tokenizer), int(tokenizer.eos_token_id)
    rng = np.random.default_rng(0)
    library = DataCollatorForLanguageModeling(tokenizer, mlm_probability=RATIO)
    for batch_size, length in ((32, 512), (64, 128)):
        rows = rng.integers(120, len(tokenizer), (batch_size, length)).tolist()
        shape, tokens = f"{batch_size} x {length}", batch_size * length
        ours = partial(our_spans, rows, sentinels, eos)
        compare(f"spans {shape}", ours, partial(peer_spans, rows, sentinels[0], eos), tokens)
        inner = [row[1:-1] for row in rows]
        closed = [[tokenizer.cls_token_id, *row, tokenizer.sep_token_id] for row in inner]
        special = [[1, *[0] * (length - 2), 1]] * batch_size
        ours = partial(our_masks, inner, tokenizer)
        compare(f"masks {shape}", ours, partial(peer_masks, library, closed, None), tokens)
        helped = partial(peer_masks, library, closed, special)
        compare(f"masks {shape}, peer told what is special", ours, helped, tokens)


if __name__ == "__main__":
    main()
