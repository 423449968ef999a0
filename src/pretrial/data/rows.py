"""Rows of data: in memory, or read one after the other."""

from __future__ import annotations

import dataclasses
import difflib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

from pretrial.errors import UserError

Row = dict[str, Any]
T = TypeVar("T")

#: Where `leaving_out` notes the reasons.
_reasons: ContextVar[list[str] | None] = ContextVar("reasons", default=None)


class Rows(Sequence[Row]):
    """Rows in memory.

    Attributes:
        source: where they come from, for messages.
        skipped: why rows were left out, one text each.
        numbers: of the rows in their source, for messages; None where they are all of it.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        source: str = "",
        skipped: Sequence[str] = (),
        numbers: Sequence[int] | None = None,
    ) -> None:
        self._rows = list(rows)
        self.source = source
        self.skipped = list(skipped)
        self.numbers = numbers

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            numbers = range(len(self)) if self.numbers is None else self.numbers
            return Rows(self._rows[index], self.source, numbers=numbers[index])
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def expanded(self, make: Callable[[Row], Iterable[Row]]) -> Rows:
        """What is made of each row, one after the other."""
        return Rows((new for row in self for new in make(row)), self.source, self.skipped)

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self.source or 'data'}: {', '.join(field_names(self))}>"


class Stream(Iterable[Row]):
    """Rows that are read while one iterates; each iteration begins anew.

    Attributes:
        source: where they come from, for messages.
        skipped: why rows were left out in the last iteration, as far as it has come.
        files: all that is read, in order; empty where the source is no file.
        as_written: whether the rows are what stands in the files, but for the names of fields.
    """

    def __init__(
        self,
        read: Callable[[list[str]], Iterator[Row]],
        source: str = "",
        start: int = 0,
        files: Sequence[Path] = (),
        as_written: bool = True,
    ) -> None:
        """`read(skipped)` gives the rows from the first on and appends reasons to `skipped`."""
        self._read = read
        self._start = start
        self.source = source
        self.files = tuple(files)
        self.as_written = as_written
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        self.skipped = []
        return islice(self._read(self.skipped), self._start, None)

    def skip(self, count: int) -> Stream:
        """The same rows without the first `count`: where an interrupted reading goes on."""
        start = self._start + count
        return Stream(self._read, self.source, start, self.files, self.as_written)

    def expanded(self, make: Callable[[Row], Iterable[Row]]) -> Stream:
        """What is made of each row, one after the other."""

        def read(skipped: list[str]) -> Iterator[Row]:
            for row in self._read(skipped):
                yield from make(row)

        return Stream(read, self.source, files=self.files, as_written=False)


class Mapped(Sequence[Any]):
    """What is made of the items of a sequence on the disk, each when it is asked for.

    Attributes:
        skipped: why rows were left out, one text each.
    """

    on_disk = True
    skipped: Sequence[str] = ()

    def __init__(self, items: Sequence[Any], make: Callable[[int, Any], Any]) -> None:
        self._items = items
        self._make = make

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        return self._make(row_number(self._items, numbers), self._items[numbers])

    def __iter__(self) -> Iterator[Any]:
        return (self._make(number, item) for number, item in numbered(self._items))


class Selection(Sequence[Any]):
    """Some items of a sequence on the disk; 8 bytes each are in memory, for its place."""

    on_disk = True

    def __init__(self, items: Sequence[Any], places: Iterable[int]) -> None:
        self._items = items
        self._places = array("q", places)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._items[place] for place in self._places[index]]
        return self._items[self._places[index]]

    def __iter__(self) -> Iterator[Any]:
        return (self._items[place] for place in self._places)


def mapped(items: Sequence[Any], make: Callable[[int, Any], Any]) -> Sequence[Any]:
    """What `make(number, item)` gives for each item: a list, or a `Mapped` of items on the disk.

    The number is that of `row_number`. What `make` raises is raised at once, and of items on the
    disk when the item is read; inside `leaving_out` such items are left out, and those on the disk
    are all read once for it. `make` must give the same whenever it is called.
    """
    reasons = _reasons.get()
    if reasons is None:
        return (
            Mapped(items, make)
            if is_on_disk(items)
            else [make(number, item) for number, item in numbered(items)]
        )
    made, places, before = [], array("q"), len(reasons)
    for place, (number, item) in enumerate(numbered(items)):
        try:
            made.append(make(number, item))
        except UserError as error:
            reasons.append(str(error))
        else:
            places.append(place)
        if is_on_disk(items):
            made.clear()
    if not places and len(reasons) > before:
        raise UserError(f"no row can be used; the first: {reasons[before]}")
    return chosen(Mapped(items, make), places) if is_on_disk(items) else made


@contextmanager
def leaving_out(reasons: list[str]) -> Iterator[None]:
    """Inside, rows that a method cannot read are left out, and their reasons are noted."""
    token = _reasons.set(reasons)
    try:
        yield
    finally:
        _reasons.reset(token)


def row_number(rows: object, place: int) -> int:
    """The number of a row in its source, by its place in rows that may be a part of it."""
    numbers = getattr(rows, "numbers", None)
    return place if numbers is None else int(numbers[place])


def numbered(rows: Iterable[T]) -> Iterator[tuple[int, T]]:
    """The rows with their numbers; see `row_number`."""
    return ((row_number(rows, place), row) for place, row in enumerate(rows))


def chosen(items: Sequence[Any], places: Iterable[int]) -> Sequence[Any]:
    """The items at some places: a list, or a `Selection` of items on the disk."""
    return Selection(items, places) if is_on_disk(items) else [items[place] for place in places]


def where(items: Sequence[Any], keep: Callable[[Any], Any]) -> Sequence[Any]:
    """The items that are to be kept; all are read once for it."""
    return chosen(items, (place for place, item in enumerate(items) if keep(item)))


def by_key(items: Sequence[Any], key: Callable[[Any], str]) -> dict[str, Sequence[Any]]:
    """The items by a key, keys in the order in which they first come; all are read once for it."""
    places: dict[str, array[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(key(item), array("q")).append(place)
    return {name: chosen(items, own) for name, own in places.items()}


def spread(items: Sequence[Any], most: int) -> Iterator[Any]:
    """All items, or `most` of them, evenly spread; 0 is all."""
    count = min(len(items), most or len(items))
    return (items[number * len(items) // count] for number in range(count))


def texts(rows: Sequence[Row], field: str = "text") -> Sequence[str]:
    """The texts in a field; see `mapped`.

    Raises:
        UserError: a row lacks the field, or holds something else in it.
    """
    require(rows, (field,))

    def text_of(number: int, row: Row) -> str:
        _require(row, number, (field,), rows)
        return text_in(row, number, field)

    return mapped(rows, text_of)


def read_as(rows: Sequence[Row], kind: type[T]) -> Sequence[T]:
    """The rows as instances of a dataclass named as their fields; see `mapped`.

    An attribute without a default must be in every row, and be no null; one that is annotated as
    `str` must be a text. Other fields of a row are left out.

    Args:
        rows: raw rows.
        kind: the dataclass.

    Raises:
        UserError: a row lacks a field, or holds something else in it.
    """
    attributes = dataclasses.fields(kind)  # type: ignore[arg-type]
    missing = dataclasses.MISSING
    needed = [
        each.name
        for each in attributes
        if each.default is missing and each.default_factory is missing
    ]
    texts = {each.name for each in attributes if each.type in (str, "str")}
    require(rows, needed)

    def example(number: int, row: Row) -> T:
        _require(row, number, needed, rows)
        own = {
            each.name: text_in(row, number, each.name) if each.name in texts else row[each.name]
            for each in attributes
            if each.name in needed or row.get(each.name) is not None
        }
        return kind(**own)

    return mapped(rows, example)


def text_in(row: Row, number: int, field: str = "text") -> str:
    """The text in a field of a row of that number.

    Raises:
        UserError: it is something else.
    """
    text = row[field]
    if text is None:
        raise UserError(f"{field!r} of row {number} is empty (null): fill it, or take the row out")
    if not isinstance(text, str):
        kind = type(text).__name__
        raise UserError(f"{field!r} of row {number} is a {kind}: give a string")
    return text


def is_on_disk(data: object) -> bool:
    """Whether reading an item means reading from the disk, because all do not fit in memory."""
    return getattr(data, "on_disk", False)


def field_names(rows: Iterable[Row]) -> list[str]:
    """Names of the fields of the first row."""
    return list(next(iter(rows), {}))


def likely(wanted: str, found: Iterable[str]) -> str:
    """The field that is probably meant by `wanted`, or OTHER; for an example of --fields."""
    names = list(found)
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
    return (close or (names if len(names) == 1 else ["OTHER"]))[0]


def require(rows: Iterable[Row], fields: Iterable[str]) -> None:
    """Checks that the rows (of a stream, or on the disk: the first) have the fields.

    Raises:
        UserError: one is missing; the message names the fields found and suggests `--fields`.
    """
    wanted = list(fields)
    all_of_them = isinstance(rows, Sequence) and not is_on_disk(rows) and _reasons.get() is None
    for number, row in enumerate(rows if all_of_them else islice(iter(rows), 1)):
        _require(row, row_number(rows, number), wanted, rows)


def _require(row: Row, number: int, fields: Iterable[str], rows: Iterable[Row]) -> None:
    for name in fields:
        if name not in row:
            source = getattr(rows, "source", "") or "the data"
            guess = likely(name, [other for other in row if other not in fields])
            raise UserError(
                f"{source} has no field {name!r} in row {number} (found: "
                f"{', '.join(row) or 'none'}): name the one to use with --fields {name}={guess}"
            )
