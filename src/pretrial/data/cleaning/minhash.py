"""MinHash: signatures of texts whose agreement estimates how many shingles two texts share.

The signature of a set holds, for each of k hash functions, the least hash of its members. Two sets
agree in a place with the probability of their Jaccard similarity J, so the share of places that
agree has mean J and standard error sqrt(J (1 - J) / k) (Broder 1997). Signatures are cut into bands
of rows: texts that agree in a whole band are candidates for duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.shingles import Hashes, Ints, mix, shingles, words

Signatures = NDArray[np.uint32]

_CHUNK = 1 << 14  # hashes at once: what fits into the processor's nearest cache


@dataclass(frozen=True)
class MinHash:
    """How signatures are made.

    Attributes:
        num_hashes: k, the length of a signature.
        shingle_words: words of a shingle.
        seed: of the hash functions.
    """

    num_hashes: int = 128
    shingle_words: int = 5
    seed: int = 0

    @cached_property
    def _factors(self) -> NDArray[np.uint32]:
        """One odd factor a hash function: x -> factor * x modulo 2**32 permutes the hashes."""
        counter = np.arange(1, self.num_hashes + 1, dtype=np.uint64)
        drawn = mix(counter + np.uint64(self.seed << 32)) >> np.uint64(32)
        return drawn.astype(np.uint32) | np.uint32(1)

    def signatures(self, texts: Sequence[str]) -> Signatures:
        """Signatures of N texts [N, k]; a text without words has the largest value throughout."""
        hashes, starts = shingles(words(texts), self.shingle_words)
        short = (hashes >> np.uint64(32)).astype(np.uint32)
        made = np.full((len(texts), self.num_hashes), 2**32 - 1, dtype=np.uint32)
        filled = np.flatnonzero(np.diff(starts))
        if not len(filled):
            return made
        begins, ends = starts[filled], starts[filled + 1]
        first = 0
        while first < len(filled):
            # as many whole texts as fit; of a longer one, stretch by stretch
            last = max(int(np.searchsorted(ends, begins[first] + _CHUNK, side="right")), first + 1)
            rows = filled[first:last]
            for start in range(begins[first], ends[last - 1], _CHUNK):
                stretch = short[start : min(start + _CHUNK, ends[last - 1])]
                self._lower(made, rows, stretch, np.maximum(begins[first:last] - start, 0))
            first = last
        return made

    def _lower(
        self, made: Signatures, rows: Ints, hashes: NDArray[np.uint32], places: Ints
    ) -> None:
        """Lowers the signatures of some rows by hashes that begin at `places`, one a row."""
        product = np.empty_like(hashes)
        for column, factor in enumerate(self._factors):
            np.multiply(hashes, factor, out=product)
            least = np.minimum.reduceat(product, places)
            made[rows, column] = np.minimum(made[rows, column], least)

    def band_keys(self, signatures: Signatures, num_bands: int, num_rows: int) -> Hashes:
        """One hash for each band of rows of each signature [N, bands]; no two bands share one."""
        used = signatures[:, : num_bands * num_rows].astype(np.uint64)
        factors = mix(np.arange(1, num_bands * num_rows + 1, dtype=np.uint64)) | np.uint64(1)
        sums = (mix(used + np.uint64(1)) * factors).reshape(-1, num_bands, num_rows).sum(-1)
        return mix(sums + np.arange(num_bands, dtype=np.uint64))


def similarity(one: Signatures, other: Signatures) -> NDArray[np.float64]:
    """The estimate of the Jaccard similarity of signatures [..., k]."""
    return (one == other).mean(-1)


@cache
def bands(threshold: float, num_hashes: int) -> tuple[int, int]:
    """Bands and rows whose candidates part best at a similarity.

    With b bands of r rows a pair of similarity s is a candidate with probability
    1 - (1 - s**r)**b; the sum of what is wrong below the threshold and what is missed above it is
    least.
    """
    grid = (np.arange(1000) + 0.5) / 1000
    best, chosen = np.inf, (1, num_hashes)
    for num_rows in range(1, num_hashes + 1):
        for num_bands in range(1, num_hashes // num_rows + 1):
            found = 1 - (1 - grid**num_rows) ** num_bands
            wrong = np.where(grid < threshold, found, 1 - found).mean()
            if wrong < best:
                best, chosen = wrong, (num_bands, num_rows)
    return chosen
