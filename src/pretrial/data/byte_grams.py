"""Texts as counts of short runs of bytes: features of how a text looks, without a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pretrial.data.shingles import mix

_BASE = np.uint64(257)


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
    vectors = np.zeros((len(texts), width), dtype=np.float32)
    for row, text in enumerate(texts):
        codes = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.uint64)
        counts = np.zeros(width)
        for size in sizes:
            if len(codes) < size:
                continue
            runs = np.zeros(len(codes) - size + 1, dtype=np.uint64)
            for place in range(size):
                runs = runs * _BASE + codes[place : len(codes) - size + 1 + place] + np.uint64(1)
            places = (mix(runs) & np.uint64(width - 1)).astype(np.int64)
            counts += np.bincount(places, minlength=width)
        vectors[row] = np.sqrt(counts)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
