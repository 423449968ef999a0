"""Options that name data, and how the commands read it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pretrial.data.builtin.catalogue import describe
from pretrial.data.reading import sources
from pretrial.data.rows import Row, Rows, Stream, leaving_out, numbered, row_number
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.train.method import Method


@dataclass(frozen=True)
class Source:
    """Where the data is.

    Attributes:
        data: a file (jsonl, csv, parquet, npy, npz), a folder (also of images), the name of a data
            set, or builtin:NAME.
        fields: where the data names its fields otherwise, pairs such as text=body.
        split: of a data set that has several.
        skip_bad: leave out rows that cannot be read, and say how many.
        limit: take that many rows from the beginning; 0 takes all.
    """

    data: str
    fields: tuple[str, ...] = ()
    split: str = ""
    skip_bad: bool = False
    limit: int = 0


def load(source: Source) -> Rows:
    """The rows; says on stderr how many were left out.

    Raises:
        UserError: there are none, one cannot be read, or a pair of --fields is none.
    """
    rows = sources.load(
        source.data,
        fields=renamed(source),
        split=source.split or None,
        skip_bad=source.skip_bad,
    )
    tell_skipped(source, rows)
    return rows[: source.limit] if source.limit > 0 else rows


def stream(source: Source) -> Iterable[Row]:
    """The rows, read while one iterates; each iteration begins anew.

    Raises:
        UserError: there are none, one cannot be read, or a pair of --fields is none.
    """
    rows = stream_all(source)
    return _Limited(rows, source.limit) if source.limit > 0 else rows


def stream_all(source: Source) -> Stream:
    """The same without a limit."""
    return sources.load(
        source.data,
        fields=renamed(source),
        split=source.split or None,
        streaming=True,
        skip_bad=source.skip_bad,
    )


def renamed(source: Source) -> dict[str, str] | None:
    """The pairs of --fields, as {wanted: found}.

    Raises:
        UserError: one is no pair.
    """
    return dict(_pair(text) for text in source.fields) or None


class _Limited:
    """The first rows of a stream, each time one iterates."""

    def __init__(self, rows: Iterable[Row], count: int) -> None:
        self.rows, self.count = rows, count

    def __iter__(self) -> Iterator[Row]:
        return islice(iter(self.rows), self.count)


def read(method: type[Method], rows: Sequence[Row], source: Source) -> Sequence[Any]:
    """The examples that a method makes of rows; with --skip-bad, of those that it can use."""
    if not source.skip_bad:
        examples = method.read(rows)
        tell_skipped(source, examples)
        return examples
    reasons: list[str] = []
    options = {}
    if "skip_bad" in inspect.signature(method.read).parameters:
        options["skip_bad"] = True
    with leaving_out(reasons):
        examples = method.read(rows, **options)
    _tell(source, [*reasons, *getattr(examples, "skipped", ())])
    return examples


def readable(method: Method, rows: Rows, source: Source, task: Any) -> Rows:
    """With --skip-bad the rows that a task can use, all of which must have what it pairs.

    Where the method can read none of them, the task reads other fields than it does: then only
    rows with a null in a field of the task are left out.

    Args:
        method: which is measured.
        rows: as `load` gives them.
        source: where they come from.
        task: its options.
    """
    if not source.skip_bad:
        return rows
    named = [] if getattr(task, "label", "") else ["query", "document"]
    paired = {getattr(task, name) for name in (*named, "source", "target") if hasattr(task, name)}
    unread: dict[int, str] = {}
    empty: dict[int, str] = {}
    for place, (number, row) in enumerate(numbered(rows)):
        try:
            examples_of(method, rows[place : place + 1], getattr(task, "text", ""))
        except UserError as error:
            unread[place] = str(error)
        lacking = next((name for name in paired if row.get(name, "") is None), None)
        if lacking is not None:
            empty[place] = f"{lacking!r} of row {number} is empty (null)"
    bad = empty if len(unread) == len(rows) else unread | empty
    places = [place for place in range(len(rows)) if place not in bad]
    if not places:
        return rows  # what is wrong with them is then said by the task
    _tell(source, [bad[place] for place in sorted(bad)])
    numbers = [row_number(rows, place) for place in places]
    return Rows([rows[place] for place in places], rows.source, numbers=numbers)


def note(source: str) -> str:
    """Where built-in data is from and its licence; "" for other data."""
    if not source.startswith("builtin:"):
        return ""
    made = describe(source.removeprefix("builtin:").partition("?")[0])
    return f"provenance of the data: {made.provenance}; licence: {made.licence}"


def tell_skipped(source: Source, rows: Any) -> None:
    """Says on stderr how many rows were left out."""
    _tell(source, getattr(rows, "skipped", ()))


def _tell(source: Source, skipped: Sequence[str]) -> None:
    if skipped:
        print(
            f"left out {len(skipped)} rows of {source.data}, the first: {skipped[0]}",
            file=sys.stderr,
        )


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise UserError(f"--fields takes pairs such as text=body, not {text!r}")
    return ours, theirs
