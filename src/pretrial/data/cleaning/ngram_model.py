"""How probable a text's words are after what has been read: a model of runs of words.

The counts of runs of up to n words lie in tables by hash, so reading and scoring are arithmetic on
arrays. A run's probability is smoothed with that of the run without its first word:
p(w | h) = (count(h w) + a p(w | h')) / (count(h) + a).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.shingles import Hashes, Words, batches, mix, words
from pretrial.errors import UserError

_FACTOR = np.uint64(0xD6E8FEB86659FD93)


class NgramModel:
    """Counts of runs of words.

    Args:
        texts: what is read.
        size: words of the longest run.
        table_bits: log2 of the places of each table.
        smoothing: a.

    Raises:
        UserError: there are no words to read.
    """

    def __init__(
        self, texts: Iterable[str], size: int = 3, table_bits: int = 22, smoothing: float = 2.0
    ) -> None:
        self.size, self.smoothing = size, smoothing
        self._mask = np.uint64(2**table_bits - 1)
        self._counts = [np.zeros(2**table_bits, dtype=np.uint32) for _ in range(size)]
        self._num_words = 0
        for batch in batches(texts):
            found = words(batch)
            self._num_words += len(found.hashes)
            for table, (places, is_run) in zip(self._counts, self._runs(found), strict=True):
                np.add.at(table, places[is_run], np.uint32(1))
        if not self._num_words:
            raise UserError("the reference texts hold no words: give others")
        self._num_distinct = int(np.count_nonzero(self._counts[0]))

    def _runs(self, found: Words) -> list[tuple[Hashes, NDArray[np.bool_]]]:
        """For runs of 1, 2, ... words that end at each word: places, and whether there is one."""
        total = len(found.hashes)
        index = np.arange(total) - np.repeat(found.starts[:-1], found.counts)  # in its text
        combined = np.zeros(total, dtype=np.uint64)
        runs = []
        for length in range(self.size):
            shifted = np.zeros(total, dtype=np.uint64)
            shifted[length:] = found.hashes[: total - length]
            combined = combined * _FACTOR + shifted
            runs.append((mix(combined) & self._mask, index >= length))
        return runs

    def perplexity(self, texts: Sequence[str]) -> list[float]:
        """Perplexity a word of each text; infinite for one without words."""
        found = words(texts)
        # a word never seen has the chance of one of as many unknown words as there are known ones
        chance = np.full(len(found.hashes), 0.5 / max(self._num_distinct, 1))
        before: NDArray[np.float64] = np.full(len(found.hashes), float(self._num_words))
        for table, (places, is_run) in zip(self._counts, self._runs(found), strict=True):
            count = table[places].astype(np.float64)
            smoothed = (count + self.smoothing * chance) / (before + self.smoothing)
            chance = np.where(is_run, smoothed, chance)
            # the next longer run's history is this run, one word earlier
            before = np.concatenate([[0.0], count[:-1]]) if len(count) else count
        sums = np.concatenate([[0.0], np.cumsum(-np.log(chance))])[found.starts]
        counts = found.counts
        means = np.divide(np.diff(sums), counts, out=np.full(len(texts), np.inf), where=counts > 0)
        return np.exp(np.minimum(means, 700.0)).tolist()
