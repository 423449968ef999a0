"""Labelled examples of fine-tuning: from rows, with what is wrong said in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrial.bases.plain.heads import Task
from pretrial.bases.plain.kinds import Modality
from pretrial.data.labels import label_in
from pretrial.data.rows import Row, likely, mapped, text_in
from pretrial.data.splits import hold_out
from pretrial.errors import UserError, nearest

_LEAST = 20  # rows: fewer give nothing to learn from and to choose by
_MOST_NAMED = 5

#: What a task learns from, beside the content.
TARGETS: dict[Task, tuple[str, ...]] = {
    "classify": ("label",),
    "tag": ("tags",),
    "regress": ("label",),
    "rank": ("relevance", "label"),
}


@dataclass(frozen=True)
class Labelled:
    """What a row says.

    Attributes:
        content: a text, (query, document), a list of words, an image or a recording.
        target: the label as it stands in the row; None where there is none.
        id: of the row, or its number.
    """

    content: Any
    target: Any = None
    id: Any = None


def content_fields(task: Task, modality: Modality) -> tuple[str, ...]:
    """The fields that a task reads."""
    if task == "rank":
        return ("query", "document")
    return ("words",) if task == "tag" else (modality,)


@dataclass(frozen=True)
class RowReader:
    """Reads rows for a task; it stands for a method where there is none yet.

    Attributes:
        task: what is learnt.
        modality: what the model reads.
    """

    task: Task
    modality: Modality

    def read(self, rows: Sequence[Row]) -> Sequence[Labelled]:
        """See `read_rows`."""
        return read_rows(rows, self.task, self.modality)


def read_rows(rows: Sequence[Row], task: Task, modality: Modality) -> Sequence[Labelled]:
    """The examples of rows, whose labels may be missing.

    Raises:
        UserError: a row lacks a field, or holds something else in it.
    """
    fields = content_fields(task, modality)

    def make(number: int, row: Row) -> Labelled:
        _check_fields(row, number, fields, rows)
        if task == "tag":
            content: Any = _words(row["words"], number)
        elif task == "rank":
            content = tuple(_text(row, number, name) for name in fields)
        else:
            content = _text(row, number) if modality == "text" else row[modality]
        field = next((name for name in TARGETS[task] if name in row), TARGETS[task][0])
        target = row.get(field)
        if task != "tag":
            target = label_in(target, number, field)
        elif target is not None:
            target = _tags(target, content, number)
        return Labelled(content, target, row.get("id", number))

    return mapped(rows, make)


def check_targets(examples: Sequence[Labelled], rows: Sequence[Row], task: Task) -> None:
    """Makes sure that examples are fit to learn from.

    Raises:
        UserError: they are too few, or their labels do not suit the task.
    """
    check_some(examples, rows, task)
    known = [each.target for each in examples if each.target is not None]
    if len(known) < _LEAST:
        raise UserError(
            f"{len(known)} rows with a label are too few to learn from and to hold some out: give"
            f" at least {_LEAST}"
        )
    if task in ("regress", "rank"):
        for target in known:
            _number(target, task)
        if len(set(known)) == 1:
            raise UserError(f"all labels are {known[0]}: there is nothing to learn")
        return
    counts = Counter(str(tag) for each in known for tag in (each if task == "tag" else [each]))
    if task == "classify" and any(_is_fraction(target) for target in known):
        raise UserError(
            f"the labels are numbers such as {next(filter(_is_fraction, known))}, not classes: say"
            " --task regress, or give names"
        )
    if len(counts) == 1:
        raise UserError(
            f"all {len(known)} rows have the same label, {next(iter(counts))!r}: there is nothing"
            " to tell apart; give rows of other classes too"
        )
    once = [name for name, count in counts.items() if count == 1]
    if task == "classify" and once:
        shown = ", ".join(map(repr, once[:_MOST_NAMED]))
        more = f" and {len(once) - _MOST_NAMED} more" if len(once) > _MOST_NAMED else ""
        raise UserError(
            f"{len(once)} label(s) are seen once, too seldom to learn from and to measure:"
            f" {shown}{more}; give more rows of them, take them out, or say --task regress if they"
            " are numbers"
        )


def check_some(examples: Sequence[Labelled], rows: Sequence[Row], task: Task) -> None:
    """Makes sure that some rows have a label.

    Raises:
        UserError: none has.
    """
    field = TARGETS[task][0]
    if all(each.target is None for each in examples):
        names = list(rows[0]) if len(rows) else []
        guess = likely(field, [name for name in names if name not in ("id", "text")])
        raise UserError(
            f"no row has a label: there is nothing in the field {field!r} (found:"
            f" {', '.join(names) or 'none'}): name the one to use with --fields {field}={guess}"
        )


def check_known(examples: Sequence[Labelled], classes: Sequence[str], task: Task) -> None:
    """Makes sure that a model knows the classes that it is measured on.

    Raises:
        UserError: it does not know one.
    """
    if not classes:
        return
    for each in examples:
        if each.target is None:
            continue
        for name in map(str, each.target if task == "tag" else [each.target]):
            if name not in classes:
                raise UserError(
                    f"row {each.id} has the label {name!r}, which the model was not trained on"
                    f" (it knows {nearest(name, classes)}): take such rows out, or train anew"
                )


def targets_of(
    examples: Sequence[Labelled], classes: Sequence[str], task: Task
) -> list[tuple[Any, Any]]:
    """(content, target) pairs as `heads.Tuned` learns from them, of examples with a label."""
    place = {name: number for number, name in enumerate(classes)}
    found: list[tuple[Any, Any]] = []
    for each in examples:
        if each.target is None:
            continue
        if task == "tag":
            found.append((each.content, [place[str(tag)] for tag in each.target]))
        elif task == "classify":
            found.append((each.content, place[str(each.target)]))
        else:
            found.append((each.content, _number(each.target, task)))
    return found


def class_names(examples: Sequence[Labelled], task: Task) -> list[str]:
    """Names of the classes, in the order of numbers where they are numbers; else sorted."""
    if task in ("regress", "rank"):
        return []
    found = {
        tag
        for each in examples
        if each.target is not None
        for tag in (each.target if task == "tag" else [each.target])
    }
    numbers = all(isinstance(name, int | float) for name in found)
    return list(dict.fromkeys(map(str, sorted(found, key=None if numbers else str))))


def part(
    rows: Sequence[Row], task: Task, ratio: float, seed: int
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Rows to learn from, and rows held out; no class is held out altogether.

    Args:
        rows: all of them; equal ones stay on one side.
        task: rows of tags or numbers have no class to look after.
        ratio: share to hold out.
        seed: of the choice.
    """
    kept, aside = hold_out(rows, ratio, seed)
    if task != "classify":
        return kept, aside
    known = {str(row.get("label")) for row in kept}
    lost = [row for row in aside if str(row.get("label")) not in known]
    return [*kept, *lost], [row for row in aside if str(row.get("label")) in known]


def _check_fields(row: Row, number: int, fields: Sequence[str], rows: Sequence[Row]) -> None:
    for name in fields:
        if name not in row:
            source = getattr(rows, "source", "") or "the data"
            others = [other for other in row if other not in (*fields, "label", "id")]
            raise UserError(
                f"{source} has no field {name!r} in row {number} (found:"
                f" {', '.join(row) or 'none'}): name the one to use with --fields"
                f" {name}={likely(name, others)}"
            )


def _text(row: Row, number: int, field: str = "text") -> str:
    text = text_in(row, number, field)
    if not text.strip():
        raise UserError(
            f"{field!r} of row {number} is empty: fill it, take the row out, or say --skip-bad"
        )
    return text


def _words(value: Any, number: int) -> list[str]:
    words = value.split() if isinstance(value, str) else value
    if isinstance(words, np.ndarray | tuple):
        words = list(words)
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise UserError(
            f"'words' of row {number} must be a list of words, or a text with spaces between them"
        )
    return words


def _tags(value: Any, words: list[str], number: int) -> list[str]:
    tags = value.split() if isinstance(value, str) else list(value)
    if len(tags) != len(words):
        raise UserError(
            f"row {number} has {len(words)} words and {len(tags)} tags: give one tag a word"
        )
    return [str(tag) for tag in tags]


def _is_fraction(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return False
    return isinstance(value, float) and not value.is_integer()


def _number(value: Any, task: Task) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = np.nan
    if not np.isfinite(found):
        raise UserError(
            f"the label {value!r} is no number, which --task {task} learns: say --task classify,"
            " or mend the label"
        )
    if task == "rank" and not 0 <= found <= 1:
        raise UserError(
            f"the relevance {value} is not from 0 to 1: divide relevances by the largest"
        )
    return found
