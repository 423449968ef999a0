"""Raw texts and prompted tasks: what is read, the answer, and answers to choose from.

Many tasks in this form, mixed, are what instruction tuning (FLAN) and multitask prompted
fine-tuning (T0) train on, and what rank classification measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.data.rows import mapped
from pretrial.errors import UserError


@dataclass(frozen=True)
class Example:
    """A text to learn from, or a prompted example.

    Attributes:
        text: raw text; "" in a prompted example.
        input: the prompt.
        target: the answer; "" where it is not known.
        choices: what answers there are; empty where any is.
        task: the data set it is from.
    """

    text: str = ""
    input: str = ""
    target: str = ""
    choices: tuple[str, ...] = ()
    task: str = ""

    @property
    def prompt(self) -> str:
        """What is read when something is to be written."""
        return self.input or self.text


def read_examples(rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
    """Rows with `text`, or with `input` and what goes with it.

    Raises:
        UserError: a row has neither, or a field is of the wrong kind.
    """
    return mapped(rows, _example)


def _example(number: int, row: dict[str, Any]) -> Example:
    if "text" not in row and "input" not in row:
        raise UserError(
            f"row {number} has neither 'text' nor 'input' (found: {', '.join(row)}): name the"
            " one to use with --fields text=OTHER"
        )
    for field in ("text", "input", "target"):
        if not isinstance(row.get(field, ""), str):
            kind = type(row[field]).__name__
            raise UserError(f"{field!r} of row {number} is a {kind}: give a string")
    choices = row.get("choices") or ()
    if isinstance(choices, str) or not all(isinstance(each, str) for each in choices):
        raise UserError(f"'choices' of row {number} must be a list of strings")
    return Example(
        row.get("text", ""),
        row.get("input", ""),
        row.get("target", ""),
        tuple(choices),
        str(row.get("task", "")),
    )


def texts_of(examples: Sequence[Example]) -> Sequence[str]:
    """The raw texts; "" where there is none."""
    return mapped(examples, lambda _, example: example.text)
