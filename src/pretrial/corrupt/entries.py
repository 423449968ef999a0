"""Which entries of sequences are hidden: single ones or spans, an exact share of each sequence."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.corrupt.draws import choose, row_seeds


def hidden_entries(
    lengths: NDArray[np.int64], ratio: float, generator: torch.Generator, span_length: int = 1
) -> NDArray[np.bool_]:
    """True at the hidden entries [B, max(lengths)].

    Of n entries, max(1, round(ratio * n / s)) spans of s are hidden, never overlapping, all
    placements equally likely; spans of a sequence that is too short for one cover half of it.

    Args:
        lengths: entries of each sequence, one or more [B].
        ratio: share of the entries to hide.
        generator: the only source of randomness; a sequence's draw does not depend on the others.
        span_length: entries hidden together.
    """
    seeds = row_seeds(len(lengths), generator)
    spans = np.minimum(span_length, np.maximum(1, lengths // 2))
    counts = np.maximum(1, np.rint(ratio * lengths / spans).astype(np.int64))
    counts = np.minimum(counts, lengths // spans)
    # a span is one place among those that are left when all spans are shrunk to single entries
    rows, slots = choose(seeds, lengths - counts * (spans - 1), counts, stream=1).nonzero()
    before = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
    starts = slots + before * (spans[rows] - 1)
    turns = np.zeros((len(lengths), int(lengths.max()) + 1), dtype=np.int64)
    turns[rows, starts] += 1
    np.subtract.at(turns, (rows, starts + spans[rows]), 1)
    return turns[:, :-1].cumsum(1) > 0
