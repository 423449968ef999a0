"""Noise of denoising sequence-to-sequence models: text infilling (BART), shuffles, replacements.

Everything is drawn from a seed for each row (see `draws.row_seeds`), so what happens to a row does
not depend on the rows beside it. Each function says what undoes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pretrial.corrupt.draws import choose, row_integers, row_uniform
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Streams of a row's seed; the three functions are used on the same rows, one after the other.
_LENGTHS, _TURN, _SLOTS, _WINDOWS, _ORDER, _PLACES, _TOKENS = range(11, 18)


class Infilled(NamedTuple):
    """A sequence with spans hidden.

    Attributes:
        inputs: token ids, with one mask token for each span.
        spans: the ids behind each mask, in order; empty where a mask was put in between.
    """

    inputs: list[int]
    spans: list[list[int]]


def text_infilling(
    rows: Sequence[Sequence[int]],
    seeds: Ints,
    *,
    mask_id: int,
    ratio: float = 0.3,
    mean_length: float = 3.0,
    word_starts: Sequence[Sequence[bool]] | None = None,
) -> list[Infilled]:
    """Hides spans, each behind one mask token whatever its length; `fill_in` undoes it.

    Lengths follow a Poisson law. A span of length 0 puts a mask where nothing was; there are never
    so many of these that a sequence grows. Exactly max(1, round(ratio * n)) of the n units are
    hidden, at least one visible unit stands between two masks as long as there are enough, and
    every arrangement of the drawn lengths is equally likely.

    Args:
        rows: token ids of each sequence, without special tokens and padding.
        seeds: of the rows [B].
        mask_id: id of the mask token.
        ratio: share of the units to hide.
        mean_length: of a span, in units. BART has 3.
        word_starts: True at the first token of each word: units are then words. None: tokens.

    Raises:
        UserError: a sequence is empty.
    """
    if not all(len(row) for row in rows):
        raise UserError("text infilling needs at least one token: leave empty texts out")
    if word_starts is None:
        starts = [np.arange(len(row)) for row in rows]
    else:
        starts = [np.asarray([0, *_later_starts(words)]) for words in word_starts]
    num_units = np.array([len(each) for each in starts])
    num_hidden = np.clip(np.rint(ratio * num_units), 1, num_units).astype(np.int64)
    lengths = _poisson_lengths(seeds, num_hidden, num_units, mean_length)
    num_spans = np.array([len(each) for each in lengths])
    slots = choose(seeds, num_units - num_hidden + 1, num_spans, stream=_SLOTS)
    return [
        _infill(list(row), np.append(edges, len(row)), each, places.nonzero()[0], mask_id)
        for row, edges, each, places in zip(rows, starts, lengths, slots, strict=True)
    ]


def fill_in(infilled: Infilled, mask_id: int) -> list[int]:
    """The sequence that `text_infilling` was given, where it held no mask token itself."""
    spans = iter(infilled.spans)
    return [
        token for each in infilled.inputs for token in (next(spans) if each == mask_id else (each,))
    ]


def _later_starts(words: Sequence[bool]) -> list[int]:
    """Places of the first tokens of all words but the first."""
    return [place for place, begins in enumerate(words) if begins and place]


def _poisson_lengths(
    seeds: Ints, totals: Ints, num_units: Ints, mean_length: float
) -> list[list[int]]:
    """Lengths for each row that sum to `totals`; the last one is cut to fit, and stands anywhere.

    There are no more spans than hidden units, or than gaps between the visible ones; the last one
    then takes all that is left to hide.
    """
    drawn = row_uniform(seeds, int(totals.max()), stream=_LENGTHS)
    table = np.cumsum([_poisson(k, mean_length) for k in range(int(8 * mean_length) + 16)])
    turns = row_uniform(seeds, 1, stream=_TURN)[:, 0].tolist()
    most = np.minimum(totals, num_units - totals + 1)
    lengths = []
    for number, row in enumerate(np.searchsorted(table, drawn).tolist()):
        chosen: list[int] = []
        rest = int(totals[number])
        while rest:
            last = len(chosen) == most[number] - 1
            chosen.append(rest if last else min(row[len(chosen)], rest))
            rest -= chosen[-1]
        place = int(turns[number] * len(chosen))
        chosen[place], chosen[-1] = chosen[-1], chosen[place]
        lengths.append(chosen)
    return lengths


def _poisson(k: int, mean: float) -> float:
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))


def _infill(row: list[int], edges: Ints, lengths: list[int], slots: Ints, mask_id: int) -> Infilled:
    """Puts spans of so many units behind so many visible units of the row."""
    inputs: list[int] = []
    spans = []
    at = hidden = 0
    for length, slot in zip(lengths, slots.tolist(), strict=True):
        start, end = int(edges[slot + hidden]), int(edges[slot + hidden + length])
        inputs += row[at:start]
        inputs.append(mask_id)
        spans.append(row[start:end])
        at, hidden = end, hidden + length
    return Infilled(inputs + row[at:], spans)


class Shuffled(NamedTuple):
    """Sequences in which neighbours have changed places.

    Attributes:
        inputs: token ids [B, T].
        origin: where each token stood before [B, T]; `unshuffle` undoes it by this.
        moved: True where another token stands now than before [B, T].
    """

    inputs: Ints
    origin: Ints
    moved: Bools


def local_shuffle(ids: Ints, free: Bools, seeds: Ints, *, ratio: float, width: int = 3) -> Shuffled:
    """Puts windows of neighbouring tokens into random order.

    Round(ratio * n) windows are drawn for the n free tokens of a row, among those that hold free
    tokens only; of two that overlap, the second is left out.

    Args:
        ids: token ids [B, T].
        free: False at tokens that must stay: special ones, masks, padding [B, T].
        seeds: of the rows [B].
        ratio: windows for each free token.
        width: tokens of a window.
    """
    whole = _whole_windows(free, width)
    num_whole = whole.sum(1)
    wanted = np.minimum(np.rint(ratio * free.sum(1)).astype(np.int64), num_whole)
    chosen = np.zeros_like(whole)
    found = choose(seeds, num_whole, wanted, stream=_WINDOWS)
    chosen[whole] = found[np.arange(found.shape[1]) < num_whole[:, None]]
    return _shuffled(ids, chosen, seeds, width)


def sparse_shuffle(
    ids: Ints,
    free: Bools,
    seeds: Ints,
    *,
    word_starts: Bools,
    every: int = 18,
    ratio: float = 0.05,
    most: int = 26,
) -> Shuffled:
    """Puts windows of three into random order, as the release of E2S2 chooses them.

    The words of a row, masks apart, are cut into stretches of `every`; a word is drawn from each.
    It is the middle of a window if it is one token and both neighbours are free. The first windows
    count, up to `most` and to `ratio` of the row's tokens. Of two that overlap, the second is left
    out.

    Args:
        ids: token ids [B, T].
        free: False at tokens that must stay: special ones, masks, padding [B, T].
        seeds: of the rows [B].
        word_starts: True at tokens that begin a word [B, T].
        every: words of a stretch; 3 * int(1 / 0.15).
        ratio: bound on the windows, as a share of the tokens; 0.15 / 3.
        most: bound on their number; 80 // 3.
    """
    whole = _whole_windows(free, 3)
    chosen = np.zeros_like(whole)
    draws = row_uniform(seeds, ids.shape[1] // every + 1, stream=_WINDOWS)
    for row, own in enumerate(free):
        places = own.nonzero()[0]
        if not len(places):
            continue
        begins = word_starts[row, places]
        begins[0] = True
        edges = np.append(begins.nonzero()[0], len(places))  # of the words, among the places
        firsts = np.arange(0, len(edges) - 1, every)
        sizes = np.minimum(every, len(edges) - 1 - firsts)
        words = firsts + (draws[row, : len(firsts)] * sizes).astype(np.int64)
        middles = places[edges[words[edges[words + 1] - edges[words] == 1]]]
        starts = middles[(middles >= 1) & (middles - 1 < whole.shape[1])] - 1
        starts = starts[whole[row, starts]]
        num_tokens = places[-1] + 2  # the row's own, with the tokens around the text
        chosen[row, starts[: min(most, max(1, round(ratio * num_tokens)))]] = True
    return _shuffled(ids, chosen, seeds, 3)


def _whole_windows(free: Bools, width: int) -> Bools:
    """True where a window of free tokens begins [B, max(0, T - width + 1)]."""
    if free.shape[1] < width:
        return np.zeros((len(free), 0), dtype=np.bool_)
    windows = np.lib.stride_tricks.sliding_window_view(free, width, axis=1)
    return np.logical_and.reduce(windows, axis=-1)


def _shuffled(ids: Ints, chosen: Bools, seeds: Ints, width: int) -> Shuffled:
    """The rows with the windows that begin at `chosen` in random order."""
    num_rows, length = ids.shape
    origin = np.tile(np.arange(length), (num_rows, 1))
    keys = row_uniform(seeds, length, stream=_ORDER)
    next_free = np.zeros(num_rows, dtype=np.int64)
    for row, start in zip(*chosen.nonzero(), strict=True):
        if start < next_free[row]:
            continue
        next_free[row] = start + width
        origin[row, start : start + width] = start + keys[row, start : start + width].argsort()
    inputs = np.take_along_axis(ids, origin, axis=1)
    return Shuffled(inputs, origin, inputs != ids)


def unshuffle(shuffled: Shuffled) -> Ints:
    """The token ids that `local_shuffle` was given [B, T]."""
    ids = np.empty_like(shuffled.inputs)
    np.put_along_axis(ids, shuffled.origin, shuffled.inputs, axis=1)
    return ids


class Replaced(NamedTuple):
    """Sequences in which tokens were replaced.

    Attributes:
        inputs: token ids [B, T].
        labels: the original ids where a token was replaced, `IGNORE` elsewhere [B, T]; putting
            them back gives the original.
    """

    inputs: Ints
    labels: Ints


def random_replacement(
    ids: Ints, free: Bools, seeds: Ints, *, ratio: float, random_ids: Ints
) -> Replaced:
    """Puts random tokens, never the right ones, in the place of round(ratio * n) of n free ones.

    Args:
        ids: token ids [B, T].
        free: False at tokens that must stay [B, T].
        seeds: of the rows [B].
        ratio: share of the free tokens to replace.
        random_ids: what is drawn from, in ascending order [R]; two or more.
    """
    num_free = free.sum(1)
    chosen = np.zeros_like(free)
    found = choose(seeds, num_free, np.rint(ratio * num_free).astype(np.int64), stream=_PLACES)
    chosen[free] = found[np.arange(found.shape[1]) < num_free[:, None]]
    # drawn from all but the last one, which stands in for a draw of the original
    sizes = np.full(len(ids), len(random_ids) - 1)
    drawn = random_ids[row_integers(seeds, ids.shape[1], sizes, stream=_TOKENS)]
    drawn[drawn == ids] = random_ids[-1]
    inputs = np.where(chosen, drawn, ids)
    return Replaced(inputs, np.where(chosen, ids, IGNORE))
