"""Fewer padding tokens: blocks of one length, whole sequences in bins, batches of like length."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence

from pretrial.errors import UserError


def blocks(
    sequences: Iterable[Sequence[int]], length: int, separator: int | None = None
) -> Iterator[list[int]]:
    """Joins sequences and cuts the result into blocks of `length` tokens.

    Every token comes once, in order; the rest at the end, shorter than a block, is dropped.

    Args:
        sequences: token ids; read lazily.
        length: tokens a block.
        separator: put after each sequence, such as the end-of-text token; None puts nothing.
    """
    if length < 1:
        raise UserError(f"blocks need a length of at least 1, not {length}")
    rest: list[int] = []
    for sequence in sequences:
        rest.extend(sequence)
        if separator is not None:
            rest.append(separator)
        whole = len(rest) - len(rest) % length
        for start in range(0, whole, length):
            yield rest[start : start + length]
        del rest[:whole]


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Puts whole sequences into as few bins as best-fit decreasing finds.

    Takes O(n log n) comparisons.

    Args:
        lengths: of the sequences.
        capacity: the most that a bin holds.

    Returns:
        The positions of the sequences, one list a bin; each position is in one bin.

    Raises:
        UserError: a sequence is longer than a bin.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free, bin), sorted
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[position]
        if length > capacity:
            raise UserError(
                f"sequence {position} has {length} tokens and does not fit into {capacity}:"
                " cut it first or make the bins larger"
            )
        place = bisect_left(room, (length, -1))
        if place == len(room):
            bins.append([])
            free, chosen = capacity, len(bins) - 1
        else:
            free, chosen = room.pop(place)
        bins[chosen].append(position)
        insort(room, (free - length, chosen))
    return bins


def length_batches(
    lengths: Sequence[int], batch_size: int, seed: int = 0, num_together: int = 50
) -> list[list[int]]:
    """Batches of sequences of like length, in random order.

    Positions are shuffled, cut into stretches of `num_together` batches, sorted by length within
    each and cut into batches; then the batches are shuffled. A larger `num_together` pads less
    and mixes less.

    Args:
        lengths: of the sequences.
        batch_size: sequences a batch; the last batch of all may have fewer.
        seed: of both shuffles.
        num_together: batches that are sorted together.

    Returns:
        The positions of the sequences, one list a batch; each position is in one batch.
    """
    if batch_size < 1 or num_together < 1:
        raise UserError("length_batches needs batch_size and num_together of at least 1")
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    stretch = batch_size * num_together
    batches = []
    for start in range(0, len(order), stretch):
        near = sorted(order[start : start + stretch], key=lambda i: lengths[i])
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    rng.shuffle(batches)
    return batches
