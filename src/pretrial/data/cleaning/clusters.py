"""Topics of texts without labels: clusters of vectors that count words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.shingles import batches, words

_WIDTH = 1024


def word_vectors(texts: Sequence[str], width: int = _WIDTH) -> NDArray[np.float32]:
    """Vectors of length 1 [N, width] of the square roots of counts of words, hashed."""
    parts = []
    for batch in batches(texts):
        found = words(batch)
        rows = np.repeat(np.arange(len(batch)), found.counts)
        places = rows * width + (found.hashes % np.uint64(width)).astype(np.int64)
        counts = np.bincount(places, minlength=len(batch) * width).reshape(len(batch), width)
        parts.append(np.sqrt(counts, dtype=np.float32))
    vectors = np.concatenate(parts) if parts else np.zeros((0, width), dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def coherence(texts: Sequence[str]) -> list[float]:
    """How much neighbouring paragraphs have in common: the mean cosine; 1 where there is only one.

    A text of one paragraph is taken line by line.
    """
    found = []
    for text in texts:
        parts = [part for part in text.split("\n\n") if part.strip()]
        if len(parts) < 2:
            parts = [part for part in text.splitlines() if part.strip()]
        vectors = word_vectors(parts)
        near = (vectors[1:] * vectors[:-1]).sum(1)
        found.append(float(near.mean()) if len(near) else 1.0)
    return found


class Clusters:
    """Spherical k-means.

    Args:
        texts: what topics are found in.
        num_clusters: at most so many.
        rounds: of assignment and averaging.
        seed: of the first centres, drawn far from one another (k-means++).
    """

    def __init__(
        self, texts: Sequence[str], num_clusters: int = 32, rounds: int = 20, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        vectors = word_vectors(texts)
        chosen = [int(rng.integers(len(vectors)))]
        nearest = vectors @ vectors[chosen[0]]
        while len(chosen) < min(num_clusters, len(vectors)):
            distance = np.maximum(1 - nearest, 0)
            if not distance.sum() > 1e-6:
                break
            chosen.append(int(rng.choice(len(vectors), p=distance / distance.sum())))
            nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        self.centres = vectors[chosen]
        for _ in range(rounds):
            own = (vectors @ self.centres.T).argmax(1)
            sums = np.zeros_like(self.centres)
            np.add.at(sums, own, vectors)
            norms = np.linalg.norm(sums, axis=1, keepdims=True)
            self.centres = np.where(norms > 0, sums / np.maximum(norms, 1e-12), self.centres)

    def assign(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The cluster of each text [N]."""
        return (word_vectors(texts) @ self.centres.T).argmax(1)
