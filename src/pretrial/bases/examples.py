"""Examples of methods that read one thing of several, such as images or recordings, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pretrial.data.labels import label_in
from pretrial.data.rows import Row, mapped, text_in
from pretrial.errors import UserError


@dataclass(frozen=True)
class Example:
    """What one field of a row holds.

    Attributes:
        content: of the field; see `data.media.image` and `data.media.audio`.
        field: "image", "audio" or "text".
        label: its class; None where it has none.
        name: what errors call it.
    """

    content: Any
    field: str
    label: Any = None
    name: str = "an example"


def sample_texts(end: str = ".") -> list[dict[str, Any]]:
    """A handful of rows with `text` for tests; each text ends in `end`."""
    verbs = ("Return", "Print", "Close", "Copy", "Write down")
    nouns = ("the list", "a file", "each name", "the number of items", "an open socket")
    return [
        {"text": f"{verb} {noun} and then look at {noun}{end}"} for verb in verbs for noun in nouns
    ]


def read_examples(rows: Sequence[Row], fields: Sequence[str]) -> Sequence[Example]:
    """The examples of rows; see `data.rows.mapped`.

    Args:
        rows: raw rows, which may have a `label`, and a `path` to be called by.
        fields: the first of these that a row has is taken.

    Raises:
        UserError: a row has none of them, or its text is no string.
    """
    return mapped(rows, partial(_example, fields=fields))


def _example(number: int, row: Row, fields: Sequence[str]) -> Example:
    field = next((name for name in fields if row.get(name) is not None), None)
    if field is None:
        raise UserError(
            f"row {number} has neither {' nor '.join(map(repr, fields))} (found:"
            f" {', '.join(row) or 'none'}): name the field to use with --fields"
            f" {' or '.join(f'{name}=OTHER' for name in fields)}"
        )
    content = text_in(row, number) if field == "text" else row[field]
    label = label_in(row.get("label"), number)
    return Example(content, field, label, str(row.get("path") or f"row {number}"))


def as_examples(contents: Sequence[Any], field: str) -> list[Example]:
    """Examples as they are, and bare contents as examples of a field.

    Raises:
        UserError: an example is of another field.
    """
    examples = [
        each if isinstance(each, Example) else Example(each, field, name=f"item {number}")
        for number, each in enumerate(contents)
    ]
    check_field(examples, field)
    return examples


def check_field(examples: Sequence[Example], field: str) -> None:
    """Makes sure that examples are of the field that is read.

    Raises:
        UserError: one is not.
    """
    for each in examples:
        if each.field != field:
            raise UserError(
                f"{each.name} is of the field {each.field!r} and the network reads {field!r}: set"
                f" --input {each.field}, or give another checkpoint"
            )
