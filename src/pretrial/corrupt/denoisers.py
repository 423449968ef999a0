"""Denoisers (UL2, section 3.1.2): span corruption, prefix and causal language modelling in one.

A denoiser hides spans of a mean length and a share of the text. Many short spans are T5's span
corruption; one span at the end is prefix language modelling, and one that is the whole text is
language modelling. What differs is drawn row by row, so that a batch mixes denoisers.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.corrupt.draws import choose, row_integers, row_seeds, row_uniform
from pretrial.corrupt.spans import Ints, replace_spans
from pretrial.errors import UserError

Paradigm = Literal["R", "S", "X"]
_LONG_SPAN, _HIGH_RATIO = 12, 0.3  # from which on a denoiser is extreme (section 3.1.2)


class Pair(NamedTuple):
    """Token ids that are read, and those that are to be written."""

    inputs: list[int]
    targets: list[int]


@dataclass(frozen=True)
class Denoiser:
    """One way to hide a part of a text.

    Attributes:
        ratio: share of the tokens that is hidden; of one final span the mean share, and 1 hides
            the whole text.
        mean_length: of a span; 0 hides one final span.
    """

    ratio: float
    mean_length: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1 or (self.mean_length and not 1 <= self.mean_length < np.inf):
            raise UserError(
                "a denoiser hides a share of 0 < ratio <= 1 in spans of a mean length of 1 or more,"
                f" not {self.ratio} in spans of {self.mean_length}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "MEAN:RATIO", such as "3:0.15", or "S:RATIO" for one final span.

        Raises:
            UserError: it is neither.
        """
        length, _, ratio = text.partition(":")
        try:  # a length of 0, which is none, is not to mean a final span
            return cls(float(ratio), 0.0 if length == "S" else max(float(length), 0.5))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{text!r} is no denoiser: write MEAN:RATIO, such as 3:0.15, or S:RATIO for one"
                " final span"
            ) from None

    @property
    def paradigm(self) -> Paradigm:
        """R: short spans and few of them. X: long spans or many. S: one span at the end.

        The bounds are those of llm-foundry (llmfoundry/data/denoising.py).
        """
        if not self.mean_length:
            return "S"
        extreme = self.mean_length >= _LONG_SPAN or self.ratio >= _HIGH_RATIO
        return "X" if extreme else "R"

    def longest(self, length: int, t5_spans: bool) -> tuple[int, int, int]:
        """Most tokens that it makes of `length`: inputs, targets (no end tokens), and spans."""
        rows = np.array([length])
        hidden, visible = _most_hidden(self, length), length - 1
        if not self.mean_length:
            return (0 if self.ratio == 1 else visible), hidden, 0
        wanted = np.array([hidden / self.mean_length])
        rounded = np.rint(wanted) if t5_spans else np.ceil(wanted)
        spans = int(_possible(rounded, rows, np.array([hidden]), t5_spans)[0])
        return length - hidden + spans, hidden + spans, spans


def raw_length(
    denoiser: Denoiser,
    max_inputs: int,
    max_targets: int,
    num_sentinels: int,
    *,
    joined: bool = False,
    t5_spans: bool = False,
) -> int:
    """The longest text whose inputs and targets, with an end token each, are never too long.

    Of T5's span corruption (3, 0.15) it is 568 tokens at 512 inputs, which give 114 targets.

    Args:
        denoiser: hides a part of the text.
        max_inputs: the most tokens that are read.
        max_targets: the most tokens that are written.
        num_sentinels: the most spans; the text is shortened rather than a sentinel used twice.
        joined: inputs and targets stand one behind the other, so that only their sum is bounded.
        t5_spans: see `denoise`.

    Raises:
        UserError: not even two tokens fit.
    """

    def fits(length: int) -> bool:
        inputs, targets, spans = denoiser.longest(length, t5_spans)
        both = length + 2 * spans + 2
        room = (
            both <= max_inputs + max_targets
            if joined
            else (inputs < max_inputs and targets < max_targets)
        )
        return room and spans <= num_sentinels

    if not fits(2):
        raise UserError(
            f"{max_inputs} inputs, {max_targets} targets and {num_sentinels} sentinels leave no"
            f" room for spans of {denoiser.mean_length:g} at a ratio of {denoiser.ratio}: raise"
            " them"
        )
    length = 2
    while fits(length + 1):
        length += 1
    return length


def denoise(
    rows: Sequence[Sequence[int]],
    denoisers: Sequence[Denoiser],
    sentinels: Sequence[int],
    seeds: Ints,
    *,
    t5_spans: bool = False,
) -> list[Pair]:
    """Hides a part of each row by a denoiser of its own.

    Spans stand behind sentinels as in `span_corruption`; one final span needs none.

    Args:
        rows: token ids without special tokens, none empty.
        denoisers: one a row.
        sentinels: in order of use.
        seeds: of the rows [B]; a row's draws depend on nothing else.
        t5_spans: draw spans as T5's code does. It rounds their number to the nearest, which is one
            span, however long, where the mean length asks for less than one and a half; a text
            begins visible and ends hidden, so that one span is a final one. Otherwise the number is
            rounded up or down at random, so that the mean length holds over texts, and all
            arrangements are equally likely.

    Returns:
        Inputs and targets of each row, without end tokens. Putting the spans back in the place of
        their sentinels gives the row.

    Raises:
        UserError: an empty row, or more spans than sentinels.
    """
    lengths = np.array([len(row) for row in rows])
    if not lengths.all():
        raise UserError("a denoiser needs at least one token: leave empty texts out")
    final = np.array([not denoiser.mean_length for denoiser in denoisers])
    hidden = _num_hidden(denoisers, lengths, final, seeds)
    means = np.array([denoiser.mean_length for denoiser in denoisers])
    wanted = hidden / np.where(final, hidden, means)
    rounded = np.rint(wanted) if t5_spans else np.floor(wanted + row_uniform(seeds, 1, 12)[:, 0])
    num_spans = np.where(final, 1, _possible(rounded, lengths, hidden, t5_spans))
    if (most := int(num_spans.max())) > max(len(sentinels), 1):
        raise UserError(
            f"{most} spans were drawn but there are only {len(sentinels)} sentinels: shorten the"
            " texts, or add sentinels"
        )
    row_of, starts, ends = _place(lengths, hidden, num_spans, final, seeds, t5_spans)
    offsets = lengths.cumsum() - lengths
    number = np.arange(len(row_of)) - (num_spans.cumsum() - num_spans)[row_of]
    marks = np.asarray(sentinels or [-1], dtype=np.int64)[number]
    flat = array("q")
    for row in rows:
        flat.fromlist(list(row))
    ids = np.frombuffer(flat, dtype=np.int64)
    places = offsets[row_of]
    parts = replace_spans(ids, lengths, row_of, starts + places, ends + places, marks)
    inputs = np.split(parts.inputs, parts.input_lengths.cumsum()[:-1])
    labels = np.split(parts.labels, parts.label_lengths.cumsum()[:-1])
    return [
        Pair(read[:-1].tolist(), written[1:].tolist())
        if last
        else Pair(read.tolist(), written.tolist())
        for read, written, last in zip(inputs, labels, final, strict=True)
    ]


def _most_hidden(denoiser: Denoiser, length: int) -> int:
    """The most tokens that are hidden of `length`; always as many but of a final span."""
    if denoiser.ratio == 1 and not denoiser.mean_length:
        return length
    share = denoiser.ratio * length
    most = np.rint(2 * share) - 1 if not denoiser.mean_length else np.rint(share)
    return int(np.clip(most, 1, max(length - 1, 1)))


def _num_hidden(
    denoisers: Sequence[Denoiser], lengths: Ints, final: NDArray[np.bool_], seeds: Ints
) -> Ints:
    """Tokens hidden in each row [B]; a final span is of a length uniform from 1 on."""
    pairs = zip(denoisers, lengths.tolist(), strict=True)
    most = np.array([_most_hidden(denoiser, length) for denoiser, length in pairs])
    drawn = 1 + row_integers(seeds, 1, most, stream=11)[:, 0]
    parted = final & np.array([denoiser.ratio < 1 for denoiser in denoisers])
    return np.where(parted, drawn, most)


def _possible(wanted: NDArray[np.float64], lengths: Ints, hidden: Ints, t5_spans: bool) -> Ints:
    """Spans [B]: one or more, each of a token or more, with a visible one between two of them."""
    room = lengths - hidden + (0 if t5_spans else 1)
    return np.clip(wanted, 1, np.maximum(np.minimum(hidden, room), 1)).astype(np.int64)


def _place(
    lengths: Ints,
    hidden: Ints,
    num_spans: Ints,
    final: NDArray[np.bool_],
    seeds: Ints,
    t5_spans: bool,
) -> tuple[Ints, Ints, Ints]:
    """Row, start and end in that row of every span [S]; all lengths of the spans equally likely."""
    rows, visible = np.arange(len(lengths)), lengths - hidden
    # cut[b, k]: a span ends with the hidden token k
    cut = np.zeros((len(lengths), int(hidden.max())), dtype=bool)
    drawn = choose(seeds, hidden - 1, num_spans - 1, stream=13)
    cut[:, : drawn.shape[1]] = drawn[:, : cut.shape[1]]
    cut[rows, hidden - 1] = True
    # gap[b, k]: a span stands behind k visible tokens
    gap = np.zeros((len(lengths), int(visible.max()) + 1), dtype=bool)
    last = final | t5_spans
    inner = np.where(last, np.maximum(visible - 1, 0), visible + 1)
    drawn = choose(seeds, inner, num_spans - last, stream=14)
    places, behind = drawn.nonzero()
    gap[places, behind + last[places]] = True
    gap[rows[last], visible[last]] = True
    row_of, ends = cut.nonzero()
    ends = ends + 1
    firsts = num_spans.cumsum() - num_spans
    starts = np.concatenate([[0], ends[:-1]])
    starts[firsts] = 0
    behind = gap.nonzero()[1]
    return row_of, starts + behind, ends + behind


class MixtureOfDenoisers:
    """Draws a denoiser for each window, and makes inputs and targets of it.

    Args:
        denoisers: the members.
        weights: share of each; none for equal ones.
        sentinels: in order of use.
        heads: token ids in front of the inputs, by paradigm; such as that of a mode.
        max_inputs: the most tokens that are read, an end token included.
        max_targets: the most tokens that are written, an end token included.
        joined: see `raw_length`.
        t5_spans: see `denoise`.

    Attributes:
        raw_lengths: tokens that each member takes of a window; of longer ones a random stretch.

    Raises:
        UserError: the weights do not fit, or a member has no room.
    """

    def __init__(
        self,
        denoisers: Sequence[Denoiser],
        weights: Sequence[float],
        sentinels: Sequence[int],
        *,
        heads: dict[Paradigm, list[int]],
        max_inputs: int,
        max_targets: int,
        joined: bool,
        t5_spans: bool,
    ) -> None:
        self.denoisers = tuple(denoisers)
        shares = np.array(weights or [1.0] * len(self.denoisers), dtype=np.float64)
        if len(shares) != len(self.denoisers) or not len(shares) or shares.min() <= 0:
            raise UserError(
                f"{len(self.denoisers)} denoisers need as many weights above 0, not {list(weights)}"
            )
        self._edges = shares.cumsum() / shares.sum()
        self.sentinels, self.heads, self.t5_spans = list(sentinels), heads, t5_spans
        self.raw_lengths = [
            raw_length(
                each,
                max_inputs - len(heads.get(each.paradigm, ())),
                max_targets,
                len(self.sentinels),
                joined=joined,
                t5_spans=t5_spans,
            )
            for each in self.denoisers
        ]

    @property
    def window(self) -> int:
        """Tokens of a window that serves every member."""
        return max(self.raw_lengths)

    def pairs(self, windows: Sequence[list[int]], generator: torch.Generator) -> list[Pair]:
        """Inputs, behind their head, and targets of each window, without end tokens."""
        seeds = row_seeds(len(windows), generator)
        chosen = np.searchsorted(self._edges, row_uniform(seeds, 1, 15)[:, 0], side="right")
        chosen = np.minimum(chosen, len(self.denoisers) - 1)  # rounding at the upper end
        raw = np.array(self.raw_lengths)[chosen]
        spare = np.maximum(np.array([len(window) for window in windows]) - raw, 0)
        begins = row_integers(seeds, 1, spare + 1, stream=16)[:, 0]
        rows = [
            window[begin : begin + length]
            for window, begin, length in zip(windows, begins, raw, strict=True)
        ]
        members = [self.denoisers[place] for place in chosen]
        found = denoise(rows, members, self.sentinels, seeds, t5_spans=self.t5_spans)
        return [
            Pair([*self.heads.get(member.paradigm, ()), *pair.inputs], pair.targets)
            for member, pair in zip(members, found, strict=True)
        ]
