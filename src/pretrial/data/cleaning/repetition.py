"""Words, lines and runs of words that a document repeats, as Gopher's rules count them.

Rae and others 2021 (arXiv 2112.11446), table A1: shares of the characters, spaces included, that
lie in what is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Scripts that are written without spaces: Thai and Lao, Tibetan, Myanmar, Khmer; kana and Chinese
UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’][^\W{UNSPACED}]+)*"  # noqa: RUF001
_WORDS, _TOKENS = re.compile(_WORD), re.compile(_WORD + r"|[^\w\s]")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def words_of(text: str) -> list[str]:
    """The words; a character of a script without spaces is one."""
    return _WORDS.findall(text)


def tokens_of(text: str) -> list[str]:
    """The words, and each mark of punctuation as one more."""
    return _TOKENS.findall(text)


def repeated(parts: Sequence[str]) -> tuple[int, int]:
    """Of parts such as lines, how many came before, and their characters."""
    seen: set[str] = set()
    count = chars = 0
    for part in parts:
        if part in seen:
            count, chars = count + 1, chars + len(part)
        seen.add(part)
    return count, chars


class Runs:
    """Runs of tokens of one document.

    Args:
        tokens: of the document.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        ids = [numbers.setdefault(token, len(numbers)) for token in tokens]
        self.sizes = np.array([len(token) for token in tokens], dtype=np.int64)
        self._ids = np.array(ids, dtype=np.uint64) + np.uint64(1)
        self._once = len(tokens) + 1  # runs of so many tokens or more occur once

    def _hashes(self, size: int) -> NDArray[np.uint64]:
        """Of all runs of so many tokens [max(0, T - size + 1)]."""
        count = max(0, len(self._ids) - size + 1)
        found = np.zeros(count, dtype=np.uint64)
        for place in range(size):
            found = (found + self._ids[place : place + count]) * _FACTOR
            found ^= found >> np.uint64(29)
        return found

    def most_frequent(self, size: int) -> int:
        """Characters in all the places of the most frequent run, with the spaces inside.

        A run that occurs once is none: what is short would be full of it.
        """
        if size >= self._once:
            return 0
        hashes = self._hashes(size)
        _, firsts, counts = np.unique(hashes, return_index=True, return_counts=True)
        if len(firsts) == len(hashes):
            self._once = size
            return 0
        first = int(firsts[counts == counts.max()].min())  # of several the first in the text
        return int(counts.max()) * (int(self.sizes[first : first + size].sum()) + size - 1)

    def repeated(self, size: int) -> int:
        """Characters in runs that came before, from left to right and without overlap."""
        if size >= self._once:
            return 0
        hashes = self._hashes(size)
        if len(np.unique(hashes)) == len(hashes):
            self._once = size
            return 0
        seen: set[int] = set()
        place = chars = 0
        values = hashes.tolist()
        while place < len(values):
            if values[place] in seen:
                chars += int(self.sizes[place : place + size].sum())
                place += size
            else:
                seen.add(values[place])
                place += 1
        return chars
