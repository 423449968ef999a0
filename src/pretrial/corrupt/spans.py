"""Span corruption: hidden spans become sentinels, and the labels say what stood there (T5)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.corrupt.draws import choose_few, row_integers, row_seeds, row_uniform
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError

LengthLaw = Literal["uniform", "geometric"]
Ints = NDArray[np.int64]


def span_corruption(
    ids: Sequence[int] | Tensor,
    sentinels: Sequence[int],
    ratio: float = 0.15,
    mean_length: float = 3.0,
    law: LengthLaw = "uniform",
    *,
    generator: torch.Generator,
    eos: int | None = None,
    word_starts: Sequence[bool] | None = None,
) -> tuple[list[int], list[int]]:
    """Hides spans of a sequence, each behind a sentinel of its own.

    From `a b c d e f` with `b c` and `e` hidden come the inputs `a S0 d S1 f` and the labels
    `S0 b c S1 e`. At least one visible token stands between two spans, and every arrangement of the
    drawn lengths is equally likely. Exactly max(1, round(ratio * n)) of the n tokens are hidden.

    Args:
        ids: token ids [T] without special tokens and padding.
        sentinels: ids of the sentinels, in order of use.
        ratio: share of the tokens to hide; of the words when `word_starts` is given.
        mean_length: of a span. CodeT5 has uniform lengths of 1 to 5, which is a mean of 3.
        law: of the lengths: "uniform" over 1 .. 2 * mean_length - 1, or "geometric" from 1 on.
        generator: the only source of randomness.
        eos: closes both inputs and labels when given.
        word_starts: [T], True at the first token of each word: spans then cover whole words, and
            lengths count words.

    Returns:
        Inputs and labels, as lists of ids. Putting each span of the labels back in the place of its
        sentinel gives `ids`.

    Raises:
        UserError: nothing to hide, or more spans than sentinels.
    """
    ids = ids.tolist() if isinstance(ids, Tensor) else ids
    words = None if word_starts is None else [word_starts]
    parts = _corrupt([ids], sentinels, ratio, mean_length, law, generator, words)
    ending = [] if eos is None else [eos]
    return parts.inputs.tolist() + ending, parts.labels.tolist() + ending


def span_corruption_batch(
    rows: Sequence[Sequence[int]],
    sentinels: Sequence[int],
    ratio: float = 0.15,
    mean_length: float = 3.0,
    law: LengthLaw = "uniform",
    *,
    generator: torch.Generator,
    eos: int,
    pad: int,
    word_starts: Sequence[Sequence[bool]] | None = None,
) -> dict[str, Any]:
    """`span_corruption` of many sequences at once, as a batch for an encoder-decoder model.

    What is hidden in a sequence is what `span_corruption` would hide there, one sequence after the
    other with the same generator.

    Returns:
        `input_ids` [B, T], `attention_mask` [B, T] (1 at tokens), `labels` [B, U] (-100 at
        padding), and counts: "examples", "targets" (tokens of the labels) and "tokens" (those of
        inputs and labels).
    """
    parts = _corrupt(rows, sentinels, ratio, mean_length, law, generator, word_starts)
    inputs, filled = _padded(parts.inputs, parts.input_lengths, eos, pad)
    labels, _ = _padded(parts.labels, parts.label_lengths, eos, IGNORE)
    num_targets = float(parts.label_lengths.sum() + len(rows))
    counts = {
        "examples": float(len(rows)),
        "targets": num_targets,
        "tokens": num_targets + float(parts.input_lengths.sum() + len(rows)),
    }
    return {
        "input_ids": torch.from_numpy(inputs),
        "attention_mask": torch.from_numpy(filled.astype(np.int64)),
        "labels": torch.from_numpy(labels),
        "counts": counts,
    }


class Parts(NamedTuple):
    """Inputs and labels of all rows, one behind the other, and their lengths [B]."""

    inputs: Ints
    input_lengths: Ints
    labels: Ints
    label_lengths: Ints


def _padded(flat: Ints, lengths: Ints, eos: int, fill: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Rows [B, T] with `eos` behind each, and True where there is a token."""
    places = np.arange(int(lengths.max()) + 1)
    rows = np.full((len(lengths), len(places)), fill)
    rows[places < lengths[:, None]] = flat
    rows[np.arange(len(rows)), lengths] = eos
    return rows, places <= lengths[:, None]


def _corrupt(
    rows: Sequence[Sequence[int]],
    sentinels: Sequence[int],
    ratio: float,
    mean_length: float,
    law: LengthLaw,
    generator: torch.Generator,
    word_starts: Sequence[Sequence[bool]] | None,
) -> Parts:
    """Hides spans in all rows, laid one behind the other."""
    row_lengths = np.array([len(row) for row in rows])
    if not row_lengths.all():
        raise UserError("span corruption needs at least one token: leave empty texts out")
    flat = array("q")
    for row in rows:
        flat.fromlist(row if isinstance(row, list) else list(row))
    ids = np.frombuffer(flat, dtype=np.int64)
    offsets = np.cumsum(row_lengths) - row_lengths  # where each row begins
    edges, first_edge, num_units = _units(row_lengths, offsets, word_starts)
    seeds = row_seeds(len(rows), generator)
    num_hidden = np.clip(np.rint(ratio * num_units).astype(np.int64), 1, num_units)
    lengths, num_spans = _draw_lengths(seeds, num_hidden, num_units, mean_length, law)
    if num_spans.max() > len(sentinels):
        worst = int(num_spans.argmax())
        raise UserError(
            f"{num_spans[worst]} spans were drawn from {row_lengths[worst]} tokens but there are"
            f" only {len(sentinels)} sentinels: shorten the sequence, or add sentinels"
        )
    slots = choose_few(seeds, num_units - num_hidden + 1, num_spans, stream=3)
    row_of, number = (np.arange(lengths.shape[1]) < num_spans[:, None]).nonzero()  # of each span
    ends = lengths.cumsum(1)[row_of, number] + slots + first_edge[row_of]
    starts = edges[ends - lengths[row_of, number]]
    ends = edges[ends]
    marks = np.asarray(sentinels, dtype=np.int64)[number]
    return replace_spans(ids, row_lengths, row_of, starts, ends, marks)


def replace_spans(
    ids: Ints, row_lengths: Ints, row_of: Ints, starts: Ints, ends: Ints, marks: Ints
) -> Parts:
    """Puts a sentinel in the place of each span, and before the span in the labels.

    Args:
        ids: of all rows, one behind the other.
        row_lengths: of each row [B].
        row_of: the row that each span is in, in ascending order [S].
        starts: place of each span's first token in `ids`, in ascending order [S].
        ends: place behind its last one [S].
        marks: its sentinel [S].
    """
    turns = np.zeros(len(ids) + 1, dtype=np.int8)
    turns[starts] = 1
    turns[ends] -= 1
    hidden = turns[:-1].cumsum(dtype=np.int8).view(bool)
    sizes = ends - starts
    num_spans = np.bincount(row_of, minlength=len(row_lengths))
    num_hidden = np.bincount(row_of, sizes, len(row_lengths)).astype(np.int64)
    labels = np.empty(len(starts) + int(num_hidden.sum()), dtype=np.int64)
    at_mark = np.zeros(len(labels), dtype=bool)
    at_mark[sizes.cumsum() - sizes + np.arange(len(sizes))] = True
    labels[at_mark] = marks
    labels[~at_mark] = ids[hidden]
    inputs = ids.copy()
    inputs[starts] = marks
    hidden[starts] = False  # where its sentinel stands now
    return Parts(
        inputs[~hidden], row_lengths - num_hidden + num_spans, labels, num_hidden + num_spans
    )


def _units(
    row_lengths: Ints, offsets: Ints, word_starts: Sequence[Sequence[bool]] | None
) -> tuple[Ints, Ints, Ints]:
    """What spans are made of, tokens or words.

    Returns:
        edges: where the units of all rows begin, and behind the last one of each row, its end.
        first_edge: the place in `edges` of each row's first unit [B].
        num_units: of each row [B].
    """
    if word_starts is None:
        # an end is where the next row begins, so that one edge does for both
        return np.arange(int(row_lengths.sum()) + 1), offsets, row_lengths
    flat = np.concatenate([np.asarray(starts, dtype=bool) for starts in word_starts])
    flat[offsets] = True
    num_units = np.add.reduceat(flat, offsets, dtype=np.int64)
    edges = np.append(flat.nonzero()[0], len(flat))
    return edges, np.cumsum(num_units) - num_units, num_units


def _draw_lengths(
    seeds: Ints, totals: Ints, num_units: Ints, mean_length: float, law: LengthLaw
) -> tuple[Ints, Ints]:
    """Lengths [B, S] that follow the law and sum to `totals`, and how many there are [B].

    The last one drawn is cut to fit, and then stands anywhere among the others.
    """
    uniform = row_uniform(seeds, int(totals.max()), stream=1)  # every length is 1 or more
    if law == "uniform":
        drawn = 1 + (uniform * round(2 * mean_length - 1)).astype(np.int64)
    else:  # log 0 is minus infinity, and all lengths of a mean of 1 are 1
        with np.errstate(divide="ignore"):
            drawn = 1 + (np.log1p(-uniform) / np.log(1 - 1 / mean_length)).astype(np.int64)
    sums = drawn.cumsum(1)
    num_spans = 1 + (sums < totals[:, None]).sum(1)
    # only at ratios so high that spans must touch: they join
    num_spans = np.minimum(num_spans, num_units - totals + 1)
    width = int(num_spans.max())
    lengths, places = drawn[:, :width].copy(), np.arange(width)
    lengths[places >= num_spans[:, None]] = 0
    rows = np.arange(len(lengths))
    lengths[rows, num_spans - 1] = 0
    cut = totals - lengths.sum(1)
    # the others are in random order as they are
    place = row_integers(seeds, 1, num_spans, stream=2)[:, 0]
    lengths[rows, num_spans - 1] = lengths[rows, place]
    lengths[rows, place] = cut
    return lengths, num_spans
