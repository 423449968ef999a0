"""From rows to sequences of numbers: what the data decide about a network, and what is hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.corrupt.draws import choose, row_seeds
from pretrial.data.labels import label_in
from pretrial.data.media.image import pixels
from pretrial.data.rows import is_on_disk, mapped, where
from pretrial.errors import UserError

Kind = Literal["bytes", "tokens", "signal"]

#: Ids before those of the tokens: padding, a hidden entry, a token that training never saw.
PAD, MASK, UNKNOWN, FIRST = 0, 1, 2, 3
_FIELDS = ("tokens", "signal", "image", "text")


class Example(NamedTuple):
    """A sequence as it was read.

    Attributes:
        kind: of its entries.
        entries: bytes, tokens as strings, or numbers [T].
        label: its class; None where none is known.
    """

    kind: Kind
    entries: Any
    label: str | None


class Coded(NamedTuple):
    """A sequence as a network reads it.

    Attributes:
        entries: ids, or numbers between -1 and 1 for what training saw [T].
        label: number of its class; -1 where none is known.
    """

    entries: NDArray[Any]
    label: int


def read_examples(rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
    """The sequences of rows; of several fields the first of tokens, signal, image, text counts.

    Whether rows on the disk are of one kind is seen when they are coded.

    Raises:
        UserError: a row has none of them, or an empty or broken one, or the rows are of different
            kinds.
    """
    examples = mapped(rows, _example)
    if is_on_disk(examples):
        return examples
    kinds = sorted({example.kind for example in examples})
    if len(kinds) > 1:
        raise UserError(f"the rows hold {' and '.join(kinds)}: give rows of one kind")
    return examples


def _example(number: int, row: dict[str, Any]) -> Example:
    name = next((name for name in _FIELDS if row.get(name) is not None), None)
    if name is None:
        raise UserError(
            f"row {number} has none of {', '.join(_FIELDS)} (found: {', '.join(row) or 'none'}):"
            f" name the one to use with --fields {_FIELDS[0]}=OTHER"
        )
    value, label = row[name], label_in(row.get("label"), number)
    kind: Kind = "signal"
    entries: Any
    if name == "text":
        if not isinstance(value, str):
            raise UserError(f"'text' of row {number} is a {type(value).__name__}: give a string")
        kind, entries = "bytes", value.encode()
    elif name == "tokens":
        words = value.split() if isinstance(value, str) else value
        kind, entries = "tokens", [str(word) for word in _listed(words, name, number)]
    elif name == "image":
        entries = pixels(value, 1).ravel()
    else:
        entries = _numbers(value, number)
    if not len(entries):
        raise UserError(f"'{name}' of row {number} is empty: leave the row out")
    return Example(kind, entries, None if label is None else str(label))


def _listed(value: Any, name: str, number: int) -> list[Any]:
    if isinstance(value, list | tuple | np.ndarray):
        return list(value)
    raise UserError(f"'{name}' of row {number} is a {type(value).__name__}: give a list")


def _numbers(value: Any, number: int) -> NDArray[np.float32]:
    """The numbers of a signal; lists in lists, such as the rows of an image, one after another."""
    try:
        found = np.asarray(value, dtype=np.float32).ravel()
    except (TypeError, ValueError):
        found = np.full(1, np.nan, dtype=np.float32)
    if not np.isfinite(found).all():
        raise UserError(f"'signal' of row {number} is no list of numbers: give finite numbers")
    return found


def settings_of(examples: Sequence[Example], max_length: int) -> dict[str, Any]:
    """What the training data decide about a network, as settings of `LongSequenceConfig`.

    Sequences without a label do not count.

    Raises:
        UserError: no row has a label, or all have the same.
    """
    examples = where(examples, lambda example: example.label is not None)
    if not examples:
        raise UserError(
            "no row has a 'label', which training needs: name its field with --fields label=OTHER"
        )
    labels = sorted({str(example.label) for example in examples})
    if len(labels) < 2:
        raise UserError(f"all rows have the label {labels[0]!r}: give data with two labels or more")
    kind = examples[0].kind
    longest = max(len(example.entries) for example in examples)
    settings: dict[str, Any] = {
        "input_kind": kind,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: place for place, label in enumerate(labels)},
        "num_labels": len(labels),
        # a power of two, which leaves room for sequences that are a little longer
        "max_position_embeddings": min(max_length, 1 << math.ceil(math.log2(max(longest, 2)))),
    }
    if kind == "signal":
        settings["low"] = float(min(example.entries.min() for example in examples))
        settings["high"] = float(max(example.entries.max() for example in examples))
    elif kind == "bytes":
        settings["vocab_size"] = FIRST + 256
    else:
        settings["vocabulary"] = sorted({word for each in examples for word in each.entries})
        settings["vocab_size"] = FIRST + len(settings["vocabulary"])
    return settings


def code(examples: Sequence[Example], config: Any) -> Sequence[Coded]:
    """Sequences as the network reads them, cut at its longest.

    Args:
        examples: as they were read.
        config: `LongSequenceConfig` of the network.

    Raises:
        UserError: they are of another kind than the network was trained on, or have a label that
            it does not know.
    """
    kind, longest = config.input_kind, config.max_position_embeddings
    ids = {word: FIRST + place for place, word in enumerate(config.vocabulary or ())}
    places = {label: place for place, label in config.id2label.items()}

    def coded(number: int, example: Example) -> Coded:
        if example.kind != kind:
            raise UserError(
                f"the model reads {kind}, and row {number} holds {example.kind}: name the field"
                " that it was trained on, as in --fields tokens=OTHER"
            )
        if example.label is not None and example.label not in places:
            raise UserError(
                f"row {number} has the label {example.label!r}, which was not in the training data:"
                f" leave it out; known are {', '.join(places)}"
            )
        cut = example.entries[:longest]
        entries: NDArray[Any]
        if kind == "signal":
            spread = (config.high - config.low) or 1.0
            entries = (2 * (cut - config.low) / spread - 1).astype(np.float32)
        elif kind == "bytes":
            entries = np.frombuffer(cut, dtype=np.uint8).astype(np.int64) + FIRST
        else:
            entries = np.array([ids.get(word, UNKNOWN) for word in cut])
        return Coded(entries, -1 if example.label is None else places[example.label])

    return mapped(examples, coded)


def padded(
    sequences: Sequence[NDArray[Any]],
) -> tuple[Tensor, Tensor | None, NDArray[np.int64]]:
    """Entries side by side [B, T], True where they are no padding [B, T], and lengths [B].

    The mask is None where all sequences are of one length.
    """
    lengths = np.array([len(each) for each in sequences])
    if (lengths == lengths[0]).all():
        return torch.from_numpy(np.stack(sequences)), None, lengths
    rows = np.full((len(lengths), lengths.max()), PAD, dtype=sequences[0].dtype)
    mask = np.arange(rows.shape[1]) < lengths[:, None]
    rows[mask] = np.concatenate(sequences)
    return torch.from_numpy(rows), torch.from_numpy(mask), lengths


def hidden_entries(
    lengths: NDArray[np.int64], ratio: float, generator: torch.Generator, span_length: int = 1
) -> NDArray[np.bool_]:
    """True at the hidden entries [B, max(lengths)].

    Of n entries, max(1, round(ratio * n / s)) spans of s are hidden, never overlapping, all
    placements equally likely; spans of a sequence that is too short for one cover half of it.

    Args:
        lengths: entries of each sequence, one or more [B].
        ratio: share of the entries to hide.
        generator: the only source of randomness; a sequence's draw does not depend on the others.
        span_length: entries hidden together.
    """
    seeds = row_seeds(len(lengths), generator)
    spans = np.minimum(span_length, np.maximum(1, lengths // 2))
    counts = np.maximum(1, np.rint(ratio * lengths / spans).astype(np.int64))
    counts = np.minimum(counts, lengths // spans)
    # a span is one place among those that are left when all spans are shrunk to single entries
    rows, slots = choose(seeds, lengths - counts * (spans - 1), counts, stream=1).nonzero()
    before = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
    starts = slots + before * (spans[rows] - 1)
    turns = np.zeros((len(lengths), int(lengths.max()) + 1), dtype=np.int64)
    turns[rows, starts] += 1
    np.subtract.at(turns, (rows, starts + spans[rows]), 1)
    return turns[:, :-1].cumsum(1) > 0
