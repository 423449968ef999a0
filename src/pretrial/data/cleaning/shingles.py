"""Hashes of words and of runs of words, for whole batches of texts at once.

A word is a run of letters, digits, underscores and characters beyond ASCII, ASCII in lower case; a
character of a script that is written without spaces (Chinese, Japanese, Thai, Khmer, ...) begins a
word of its own. White space and punctuation do not count, so a text that is only laid out anew has
the same words. What does count is their order: a shingle is a run of n words.

Everything is arithmetic on arrays, modulo 2**64. With prefix sums of b[j] * B**j, of which a
stretch is divided by the power of the odd B that it begins with, the hash of a word takes no loop
over its letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Item = TypeVar("Item")

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse
# Characters of scripts that are written without spaces, each of which begins a word of its own, by
# the first bytes of their UTF-8: all with these leading bytes (Chinese, Japanese, Korean, Yi, ...)
_LONE = range(0xE3, 0xEE)
# and of two leading bytes those with these second ones: Thai and Lao, Tibetan; Myanmar, Khmer, the
# Tai scripts (New Tai Lue, Tai Tham), and the blocks between.
_LONE_SECOND = {0xE0: range(0xB8, 0xC0), 0xE1: (0x80, 0x81, 0x82, 0x9E, 0x9F, *range(0xA5, 0xAB))}


@dataclass(frozen=True)
class Words:
    """The words of N texts, one text after the other.

    Attributes:
        hashes: of the W words.
        starts: place of each text's first word, and W at the end [N + 1].
        spans: first byte of each word and the one behind it, counted in its text's UTF-8 [W, 2].
    """

    hashes: Hashes
    starts: Ints
    spans: Ints

    @property
    def counts(self) -> Ints:
        """Words of each text [N]."""
        return np.diff(self.starts)


def words(texts: Sequence[str]) -> Words:
    """The words of texts, as hashes."""
    parts = [text.encode("utf-8", "replace") for text in texts]
    joined = np.frombuffer(b"\n".join(parts) + b"\n", dtype=np.uint8)
    is_letter, is_lone, values = _tables()
    letter, lone = is_letter[joined], is_lone[joined]
    for first, seconds in _LONE_SECOND.items():
        lone[:-1] |= (joined[:-1] == first) & np.isin(joined[1:], list(seconds))
    begins = lone.copy()
    begins[0] |= letter[0]
    begins[1:] |= letter[1:] & ~letter[:-1]
    begin = np.flatnonzero(begins)
    stop = np.flatnonzero(begins | ~letter)  # where a word ends, if one is open
    end = stop[np.searchsorted(stop, begin, side="right")]
    powers, inverses = _powers(len(joined).bit_length())
    sums = np.zeros(len(joined) + 1, dtype=np.uint64)
    np.cumsum(values[joined] * powers[: len(joined)], out=sums[1:])
    hashes = mix((sums[end] - sums[begin]) * inverses[begin])
    sizes = np.fromiter((len(part) + 1 for part in parts), dtype=np.int64, count=len(parts))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    starts = np.searchsorted(begin, offsets)
    spans = np.stack([begin, end], axis=1) - np.repeat(offsets[:-1], np.diff(starts))[:, None]
    return Words(hashes, starts, spans)


def shingles(found: Words, size: int) -> tuple[Hashes, Ints]:
    """Hashes of all runs of `size` words, and where each text's begin.

    A text of fewer words has one shingle, of all of them; a text without words has none.

    Returns:
        The hashes [S] and the starts [N + 1], as in `Words`.
    """
    total = len(found.hashes)
    combined = np.zeros(total, dtype=np.uint64)
    factor = np.uint64(_BASE)
    left = np.repeat(found.starts[1:], found.counts) - np.arange(total)  # words to the text's end
    for place in range(size):
        combined *= factor
        # beyond the end of its text a shingle is shorter; only a short text's first one is kept
        shifted = found.hashes[place:]
        combined[: len(shifted)] += np.where(left[: len(shifted)] > place, shifted, np.uint64(0))
    first = np.zeros(total, dtype=bool)
    first[found.starts[:-1][found.counts > 0]] = True
    kept = (left >= size) | first
    starts = np.concatenate([[0], np.cumsum(kept)])[found.starts]
    return mix(combined[kept]), starts


def mix(values: Hashes) -> Hashes:
    """A hash of hashes: every bit depends on every bit (the end of splitmix64)."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def batches(
    items: Iterable[Item], size: Callable[[Any], int] = len, capacity: int = 1 << 20
) -> Iterator[list[Item]]:
    """Items in lists of about so many characters; a longer item is a list of its own.

    The capacity is such that the arrays of a batch stay in the processor's cache.
    """
    batch: list[Item] = []
    total = 0
    for item in items:
        if batch and total + size(item) > capacity:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item) + 1
    if batch:
        yield batch


@cache
def _tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_], Hashes]:
    """By byte: whether it belongs to a word, whether it begins one, and its value."""
    codes = np.arange(256)
    text = [chr(code) if code < 128 else "a" for code in codes]
    letter = np.array([char.isalnum() or char == "_" for char in text])
    lone = np.isin(codes, list(_LONE))
    lowered = [ord(chr(code).lower()) if code < 128 else code for code in codes]
    return letter, lone, mix(np.array(lowered, dtype=np.uint64) + np.uint64(1))


@cache
def _powers(bits: int) -> tuple[Hashes, Hashes]:
    """The first 2**bits powers of the base, and their inverses."""
    found = []
    for base in (_BASE, pow(_BASE, -1, 2**64)):
        powers = np.ones(1, dtype=np.uint64)
        while len(powers) < 2**bits:
            step = np.uint64(pow(base, len(powers), 2**64))
            powers = np.concatenate([powers, powers * step])
        found.append(powers)
    return found[0], found[1]
