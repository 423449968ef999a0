"""Rows of data: in memory, or read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
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
    """

    def __init__(
        self, read: Callable[[list[str]], Iterator[Row]], source: str = "", start: int = 0
    ) -> None:
        """`read(skipped)` gives the rows from the first on and appends reasons to `skipped`."""
        self._read = read
        self._start = start
        self.source = source
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        self.skipped = []
        return islice(self._read(self.skipped), self._start, None)

    def skip(self, count: int) -> Stream:
        """The same rows without the first `count`: where an interrupted reading goes on."""
        return Stream(self._read, self.source, self._start + count)


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
    """Checks that the rows (of a stream: the first) have the fields.

    Raises:
        UserError: one is missing; the message names the fields found and suggests `--fields`.
    """
    wanted = list(fields)
    checked = rows if isinstance(rows, Sequence) else islice(iter(rows), 1)
    for number, row in enumerate(checked):
        for name in wanted:
            if name not in row:
                source = getattr(rows, "source", "") or "the data"
                guess = nearest(name, row, 1) if row else "OTHER"
                raise UserError(
                    f"{source} has no field {name!r} in row {number} (found: "
                    f"{', '.join(row) or 'none'}): name the one to use with --fields {name}={guess}"
                )
