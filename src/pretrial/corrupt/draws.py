"""Random numbers for many rows at once, each row from a seed of its own.

What a row draws depends on its seed alone, so not on the rows beside it or on the way a batch is
split; and all rows are drawn with a few numpy operations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def row_seeds(num_rows: int, generator: torch.Generator) -> NDArray[np.int64]:
    """A seed for each row [B]; the same whether the rows are asked for at once or in parts."""
    return torch.randint(2**62, (num_rows,), generator=generator).numpy()


def row_bits(seeds: NDArray[np.int64], num: int, stream: int) -> NDArray[np.uint64]:
    """64 random bits [B, num] a place, by SplitMix64 (Steele and others 2014).

    Args:
        seeds: of the rows [B].
        num: numbers a row.
        stream: another one gives independent numbers from the same seeds.
    """
    places = np.arange(1, num + 1, dtype=np.uint64) * _STEP
    first = _mixed(seeds.astype(np.uint64) + np.uint64(stream))
    return _mixed(first[:, None] + places)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX[0]
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX[1]
    return bits ^ (bits >> np.uint64(31))


def row_uniform(seeds: NDArray[np.int64], num: int, stream: int) -> NDArray[np.float64]:
    """Numbers uniform in [0, 1) [B, num]; see `row_bits`."""
    return (row_bits(seeds, num, stream) >> np.uint64(11)) * np.float64(2.0**-53)


def choose(
    seeds: NDArray[np.int64], sizes: NDArray[np.int64], counts: NDArray[np.int64], stream: int
) -> NDArray[np.bool_]:
    """Chooses exactly `counts` of the first `sizes` places of each row, all choices equally likely.

    Args:
        seeds: of the rows [B].
        sizes: places to choose from [B].
        counts: places to choose, at most as many [B].
        stream: see `row_bits`.

    Returns:
        True at the chosen places [B, max(1, max(sizes))].
    """
    keys = row_bits(seeds, max(1, int(sizes.max())), stream) >> np.uint64(1)
    keys[np.arange(keys.shape[1]) >= sizes[:, None]] = np.iinfo(np.uint64).max
    last = np.sort(keys, axis=1)[np.arange(len(keys)), np.maximum(counts - 1, 0)]
    return (keys <= last[:, None]) & (counts > 0)[:, None]


def row_integers(
    seeds: NDArray[np.int64], num: int, sizes: NDArray[np.int64], stream: int
) -> NDArray[np.int64]:
    """Integers from 0 to `sizes` - 1, below 2**31, of each row [B, num]; see `row_bits`."""
    high = row_bits(seeds, num, stream) >> np.uint64(32)
    return (high * sizes.astype(np.uint64)[:, None] >> np.uint64(32)).view(np.int64)


def choose_few(
    seeds: NDArray[np.int64], sizes: NDArray[np.int64], counts: NDArray[np.int64], stream: int
) -> NDArray[np.int64]:
    """As `choose`, with fewer draws for rows that have many places for each that is chosen.

    Args:
        seeds: of the rows [B].
        sizes: places to choose from [B].
        counts: places to choose, one or more [B].
        stream: see `row_bits`.

    Returns:
        The chosen places, row after row, in ascending order in each [sum(counts)].
    """
    many = 4 * counts <= sizes
    if many.all():
        return _first_different(seeds, sizes, counts, stream)
    few, of_many = ~many, np.repeat(many, counts)
    found = np.empty(len(of_many), dtype=np.int64)
    found[~of_many] = choose(seeds[few], sizes[few], counts[few], stream).nonzero()[1]
    if many.any():
        found[of_many] = _first_different(seeds[many], sizes[many], counts[many], stream)
    return found


def _first_different(
    seeds: NDArray[np.int64], sizes: NDArray[np.int64], counts: NDArray[np.int64], stream: int
) -> NDArray[np.int64]:
    """The first `counts` different ones of the places that each row draws; see `choose_few`."""
    shift = int(2 * counts.max() + 16).bit_length()
    while True:
        turns = np.arange(1 << shift)
        keys = row_integers(seeds, len(turns), sizes, stream) << shift | turns
        keys.sort(axis=1)
        places, keys = keys >> shift, keys & turns[-1]
        keys[:, 1:][places[:, 1:] == places[:, :-1]] = len(turns)  # was drawn before
        last = np.sort(keys, axis=1)[np.arange(len(keys)), counts - 1]
        if last.max() < len(turns):
            return places[keys <= last[:, None]]
        shift += 1  # a row did not draw enough different ones; the first draws stay the same
