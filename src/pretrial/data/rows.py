"""Rows of data: in memory, or read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

from pretrial.errors import UserError, nearest

Row = dict[str, Any]


class Rows(Sequence[Row]):
    """Rows in memory.

    Attributes:
        source: where they come from, for messages.
        skipped: why rows were left out, one text each.
    """

    def __init__(self, rows: Iterable[Row], source: str = "", skipped: Sequence[str] = ()) -> None:
        self._rows = list(rows)
        self.source = source
        self.skipped = list(skipped)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            return Rows(self._rows[index], self.source)
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self.source or 'data'}: {', '.join(field_names(self))}>"


class Stream(Iterable[Row]):
    """Rows that are read while one iterates; each iteration begins anew.

    Attributes:
        source: where they come from, for messages.
        skipped: why rows were left out in the last iteration, as far as it has come.
        files: all that is read, in order; empty where the source is no file.
    """

    def __init__(
        self,
        read: Callable[[list[str]], Iterator[Row]],
        source: str = "",
        start: int = 0,
        files: Sequence[Path] = (),
    ) -> None:
        """`read(skipped)` gives the rows from the first on and appends reasons to `skipped`."""
        self._read = read
        self._start = start
        self.source = source
        self.files = tuple(files)
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        self.skipped = []
        return islice(self._read(self.skipped), self._start, None)

    def skip(self, count: int) -> Stream:
        """The same rows without the first `count`: where an interrupted reading goes on."""
        return Stream(self._read, self.source, self._start + count, self.files)


class Column(Sequence[str]):
    """The texts in one field of rows on the disk, read when they are asked for."""

    on_disk = True

    def __init__(self, rows: Sequence[Row], field: str) -> None:
        self._rows = rows
        self._field = field

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._text(index, self._rows[index])

    def __iter__(self) -> Iterator[str]:
        return (self._text(number, row) for number, row in enumerate(self._rows))

    def _text(self, number: int, row: Row) -> str:
        _require(row, number, (self._field,), self._rows)
        return _text(row, number, self._field)


def texts(rows: Sequence[Row], field: str = "text") -> Sequence[str]:
    """The texts in a field: a list, or a `Column` where the rows are on the disk.

    Raises:
        UserError: a row lacks the field, or holds something else in it; in a `Column` only when
            that row is read.
    """
    require(rows, (field,))
    if is_on_disk(rows):
        return Column(rows, field)
    return [_text(row, number, field) for number, row in enumerate(rows)]


def _text(row: Row, number: int, field: str) -> str:
    if not isinstance(text := row[field], str):
        kind = type(text).__name__
        raise UserError(f"{field!r} of row {number} is a {kind}: give a string")
    return text


def is_on_disk(data: object) -> bool:
    """Whether reading an item means reading from the disk, because all do not fit in memory."""
    return getattr(data, "on_disk", False)


def field_names(rows: Iterable[Row]) -> list[str]:
    """Names of the fields of the first row."""
    return list(next(iter(rows), {}))


def rename(row: Mapping[str, Any], fields: Mapping[str, str]) -> Row:
    """The row with `fields[wanted]` called `wanted`; other fields stay.

    Raises:
        UserError: the row lacks a field that is to be renamed.
    """
    for wanted, found in fields.items():
        if found not in row:
            raise UserError(
                f"--fields {wanted}={found}: there is no field {found!r}; found: {', '.join(row)}"
            )
    rest = {key: value for key, value in row.items() if key not in fields.values()}
    return rest | {wanted: row[found] for wanted, found in fields.items()}


def require(rows: Iterable[Row], fields: Iterable[str]) -> None:
    """Checks that the rows (of a stream, or on the disk: the first) have the fields.

    Raises:
        UserError: one is missing; the message names the fields found and suggests `--fields`.
    """
    wanted = list(fields)
    all_of_them = isinstance(rows, Sequence) and not is_on_disk(rows)
    for number, row in enumerate(rows if all_of_them else islice(iter(rows), 1)):
        _require(row, number, wanted, rows)


def _require(row: Row, number: int, fields: Iterable[str], rows: Iterable[Row]) -> None:
    for name in fields:
        if name not in row:
            source = getattr(rows, "source", "") or "the data"
            guess = nearest(name, row, 1) if row else "OTHER"
            raise UserError(
                f"{source} has no field {name!r} in row {number} (found: "
                f"{', '.join(row) or 'none'}): name the one to use with --fields {name}={guess}"
            )
