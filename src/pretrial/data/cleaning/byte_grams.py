"""Texts as counts of short runs of bytes: features of how a text looks, without a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.shingles import mix

_BASE = np.uint64(257)
_TEXTS_AT_ONCE = 64


def byte_grams(
    texts: Sequence[str], width: int, sizes: Sequence[int] = (1, 2, 3, 4)
) -> NDArray[np.float32]:
    """Vectors of length 1 [N, width] of the square roots of counts, hashed into `width` places.

    Args:
        texts: N texts; one without bytes is a vector of zeros.
        width: number of places, a power of two.
        sizes: lengths of the runs.
    """
    assert width & (width - 1) == 0, "a power of two"
    parts = [
        _counts(texts[start : start + _TEXTS_AT_ONCE], width, sizes)
        for start in range(0, len(texts), _TEXTS_AT_ONCE)
    ]
    counts = np.concatenate(parts) if parts else np.zeros((0, width))
    vectors = np.sqrt(counts).astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _counts(texts: Sequence[str], width: int, sizes: Sequence[int]) -> NDArray[np.int64]:
    """Counts of the runs [N, width]."""
    parts = [text.encode("utf-8", "replace") for text in texts]
    rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    codes = np.frombuffer(b"".join(parts), dtype=np.uint8).astype(np.uint64)
    counts = np.zeros(len(parts) * width, dtype=np.int64)
    for size in sizes:
        num_runs = len(codes) - size + 1
        if num_runs < 1:
            continue
        runs = np.zeros(num_runs, dtype=np.uint64)
        for place in range(size):
            runs = runs * _BASE + codes[place : num_runs + place] + np.uint64(1)
        inside = rows[:num_runs] == rows[size - 1 :]  # not across two texts
        places = rows[:num_runs] * width + (mix(runs) & np.uint64(width - 1)).astype(np.int64)
        counts += np.bincount(places[inside], minlength=len(counts))
    return counts.reshape(len(parts), width)
