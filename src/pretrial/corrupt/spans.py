"""Span corruption: hidden spans become sentinels, and the labels say what stood there (T5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pretrial.errors import UserError

LengthLaw = Literal["uniform", "geometric"]


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
    ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    if not ids:
        raise UserError("span corruption needs at least one token: leave empty texts out")
    edges = _unit_edges(len(ids), word_starts)
    spans = _draw_spans(len(edges) - 1, ratio, mean_length, law, generator)
    if len(spans) > len(sentinels):
        raise UserError(
            f"{len(spans)} spans were drawn from {len(ids)} tokens but there are only"
            f" {len(sentinels)} sentinels: shorten the sequence, or add sentinels"
        )
    inputs: list[int] = []
    labels: list[int] = []
    position = 0
    for sentinel, (first, last) in zip(sentinels, spans, strict=False):
        start, end = edges[first], edges[last]
        inputs += [*ids[position:start], sentinel]
        labels += [sentinel, *ids[start:end]]
        position = end
    inputs += ids[position:]
    ending = [] if eos is None else [eos]
    return inputs + ending, labels + ending


def _unit_edges(length: int, word_starts: Sequence[bool] | None) -> list[int]:
    """Where the units that spans are made of begin, and `length` at the end."""
    if word_starts is None:
        return list(range(length + 1))
    return [0, *(i for i in range(1, length) if word_starts[i]), length]


def _draw_spans(
    num_units: int, ratio: float, mean_length: float, law: LengthLaw, generator: torch.Generator
) -> list[tuple[int, int]]:
    """Spans (first, past the last), in units, ascending, no two touching."""
    num_hidden = min(num_units, max(1, round(ratio * num_units)))
    lengths = _draw_lengths(num_hidden, mean_length, law, generator)
    num_slots = num_units - num_hidden + 1  # before, between and after the visible units
    while len(lengths) > num_slots:  # only at ratios so high that spans must touch: they join
        lengths[-2:] = [sum(lengths[-2:])]
    order = torch.randperm(len(lengths), generator=generator).tolist()
    slots = torch.randperm(num_slots, generator=generator)[: len(lengths)].sort().values.tolist()
    spans = []
    hidden_before = 0
    for slot, index in zip(slots, order, strict=True):
        start = slot + hidden_before
        spans.append((start, start + lengths[index]))
        hidden_before += lengths[index]
    return spans


def _draw_lengths(
    total: int, mean_length: float, law: LengthLaw, generator: torch.Generator
) -> list[int]:
    """Lengths that follow the law and sum to `total`; the last one is cut to fit."""
    if law == "uniform":
        longest = round(2 * mean_length - 1)
        draws = torch.randint(1, longest + 1, (total,), generator=generator)
    else:
        draws = torch.empty(total).geometric_(1 / mean_length, generator=generator).long()
    lengths: list[int] = []
    for length in draws.tolist():  # every length is 1 or more, so `total` draws suffice
        lengths.append(min(length, total - sum(lengths)))
        if sum(lengths) == total:
            break
    return lengths
