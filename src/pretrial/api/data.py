"""Options that name data, and how the commands read it."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pretrial import status
from pretrial.data.builtin.catalogue import describe
from pretrial.data.reading import sources
from pretrial.data.reading.mixture import Mixture
from pretrial.data.rows import (
    Row,
    Rows,
    Stream,
    field_names,
    is_on_disk,
    leaving_out,
    numbered,
    row_number,
)
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.plain import plain
from pretrial.train.method import Method

_WEIGHT = re.compile(r"\d+(\.\d*)?|\.\d+")


@dataclass(frozen=True)
class Source:
    """Where the data is.

    Attributes:
        data: a file (jsonl, csv, parquet, npy, npz), a folder (also of images), the name of a data
            set, or builtin:NAME. Several are joined, or mixed where each ends in its weight, as in
            a.jsonl:0.7 b.parquet:0.3.
        fields: where the data names its fields otherwise, pairs such as text=body.
        text_template: what the field `text` is made of, such as "{title}\\n{body}".
        split: of a data set that has several.
        skip_bad: leave out rows that cannot be read, and say how many.
        limit: take that many rows from the beginning, of each source, without reading on; 0 takes
            all.
    """

    data: tuple[str, ...]
    fields: tuple[str, ...] = ()
    text_template: str = ""
    split: str = ""
    skip_bad: bool = False
    limit: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.data, str):  # else its letters would be the sources
            object.__setattr__(self, "data", (self.data,))

    @property
    def name(self) -> str:
        """All of them, for messages."""
        return " and ".join(self.data)

    def arguments(self) -> dict[str, Any]:
        """As JSON, for `run.json`."""
        made = plain(self) | {"data": self.data[0] if len(self.data) == 1 else list(self.data)}
        if not self.text_template:  # runs of before there was the option have none
            del made["text_template"]
        return made


def each_of(source: Source) -> list[Source]:
    """The sources one by one, without their weights.

    With several, a pair of --fields is for those that have the field.

    Raises:
        UserError: there is none; or a pair fits none.
    """
    if not source.data:
        raise UserError("--data needs a file, a folder, a data set or builtin:NAME")
    names = [name for name, _ in _weighted(source)]
    single = [dataclasses.replace(source, data=(name,)) for name in names]
    if len(single) == 1 or not source.fields:
        return single
    found = [field_names(stream_one(dataclasses.replace(one, fields=()))) for one in single]
    for text in source.fields:
        if not any(_pair(text)[1] in names for names in found):
            raise UserError(f"--fields {text}: none of {source.name} has such a field")
    return [
        dataclasses.replace(one, fields=tuple(f for f in one.fields if _pair(f)[1] in names))
        for one, names in zip(single, found, strict=True)
    ]


def load(source: Source) -> Rows:
    """The rows; says on stderr how many were left out.

    Raises:
        UserError: there are none, one cannot be read, or a pair of --fields is none.
    """
    parts = [load_one(one) for one in each_of(source)]
    joined = join(source, parts)
    return joined if isinstance(joined, Rows) else Rows(joined, source.name)


def load_one(source: Source) -> Rows:
    """The rows of a single source, all of them in memory; see `load`."""
    with status.task(f"reading {source.name}"):
        return _load_one(source)


def _load_one(source: Source) -> Rows:
    if source.limit > 0:
        stream = stream_one(source)
        rows = Rows(islice(stream, source.limit), stream.source)
        rows.skipped = stream.skipped
        if not rows:
            reason = f": all of its rows are broken ({rows.skipped[0]})" if rows.skipped else ""
            raise UserError(f"{source.name} holds no rows{reason}")
    else:
        rows = sources.load(source.data[0], **_how(source))
    tell_skipped(source, rows)
    return rows


def join(source: Source, parts: Sequence[Sequence[Row]], *, weighted: bool = True) -> Sequence[Row]:
    """The rows of several sources as one sequence: mixed by their weights, else all of them.

    Args:
        source: all of them.
        parts: the rows of each; an empty one is left out.
        weighted: whether their weights count.
    """
    weights = [weight if weighted else None for _, weight in _weighted(source)]
    there = [(part, weight) for part, weight in zip(parts, weights, strict=True) if len(part)]
    kept = [part for part, _ in there]
    if len(kept) < 2:
        return kept[0] if kept else parts[0]
    if weights[0] is None and not any(map(is_on_disk, kept)):
        return Rows(chain.from_iterable(kept), source.name)
    return MixedRows(kept, [weight or len(part) for part, weight in there], source.name)


class MixedRows(Mixture):
    """Rows of several sources in given shares; see `Mixture`.

    Attributes:
        source: where they come from, for messages.
        on_disk: whether some of them are; see `rows.is_on_disk`.
    """

    def __init__(
        self, parts: Sequence[Sequence[Row]], weights: Sequence[float], source: str
    ) -> None:
        super().__init__(parts, weights)
        self.source = source
        self.on_disk = any(map(is_on_disk, parts))


def stream(source: Source) -> Stream:
    """The rows, read while one iterates; each iteration begins anew.

    Raises:
        UserError: there are none, one cannot be read, or a pair of --fields is none; or there are
            weights, for which all rows must be known.
    """
    if len(source.data) > 1 and _weighted(source)[0][1] is not None:
        raise UserError("rows that are read one by one cannot be mixed by weights: leave them out")
    singles = each_of(source)

    def rows(skipped: list[str]) -> Iterator[Row]:
        for one in singles:
            part = stream_one(one)
            yield from islice(part, one.limit or None)
            skipped.extend(part.skipped)

    return Stream(rows, source.name)


def stream_one(source: Source) -> Stream:
    """All rows of a single source, whatever its limit."""
    return sources.load(source.data[0], streaming=True, **_how(source))


def renamed(source: Source) -> dict[str, str] | None:
    """The pairs of --fields, as {wanted: found}.

    Raises:
        UserError: one is no pair.
    """
    return dict(_pair(text) for text in source.fields) or None


def read(method: Any, rows: Sequence[Row], source: Source) -> Sequence[Any]:
    """What a method, or its class, makes of rows; with --skip-bad, of those that it can use."""
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


def note(names: str | Sequence[str]) -> str:
    """Where built-in data is from and its licence; "" for other data.

    Args:
        names: of the sources, as `run.json` has them.
    """
    notes = []
    for name, _ in _weighted(Source((names,) if isinstance(names, str) else tuple(names))):
        if name.startswith("builtin:"):
            made = describe(name.removeprefix("builtin:").partition("?")[0])
            notes.append(f"provenance of the data: {made.provenance}; licence: {made.licence}")
    return "; ".join(dict.fromkeys(notes))


def tell_skipped(source: Source, rows: Any) -> None:
    """Says on stderr how many rows were left out."""
    _tell(source, getattr(rows, "skipped", ()))


def _tell(source: Source, skipped: Sequence[str]) -> None:
    if skipped:
        print(
            f"left out {len(skipped)} rows of {source.name}, the first: {skipped[0]}",
            file=sys.stderr,
        )


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise UserError(f"--fields takes pairs such as text=body, not {text!r}")
    return ours, theirs


def _how(source: Source) -> dict[str, Any]:
    """What `sources.load` is told beside the name."""
    return {
        "fields": renamed(source),
        "template": source.text_template,
        "split": source.split or None,
        "skip_bad": source.skip_bad,
    }


def _weighted(source: Source) -> list[tuple[str, float | None]]:
    """The names of the sources with their weights, None where none are given.

    Raises:
        UserError: a weight is 0, or only some have one.
    """
    if len(source.data) == 1:  # "name:2020" is a configuration of a data set of the hub
        return [(source.data[0], None)]
    parts: list[tuple[str, float | None]] = []
    for text in source.data:
        name, colon, weight = text.rpartition(":")
        given = bool(colon) and _WEIGHT.fullmatch(weight) and not Path(text).exists()
        parts.append((name, float(weight)) if given else (text, None))
    if len({weight is None for _, weight in parts}) > 1:
        bare = next(name for name, weight in parts if weight is None)
        raise UserError(f"some of --data have a weight and {bare} has none: give all one, or none")
    if any(weight == 0 for _, weight in parts):
        raise UserError("a weight of --data is 0: give one above 0, or leave that source out")
    return parts
