"""Rows that a model gives, as a file whose ending says its format."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from pretrial.api import runs
from pretrial.errors import UserError, missing_package
from pretrial.files import whole_file

Row = Mapping[str, Any]
_ENDINGS = (".jsonl", ".csv", ".parquet")


def check_ending(path: str) -> None:
    """Makes sure that rows can be written there, before the work.

    Raises:
        UserError: the ending is of no format that is written, or its package is missing.
    """
    ending = Path(path).suffix
    if path and ending and ending not in (*_ENDINGS, ".json", ".txt"):
        raise UserError(f"--out {path} ends in {ending}: give a name in {', '.join(_ENDINGS)}")
    if ending == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("pyarrow", "data") from error


@contextlib.contextmanager
def writing(path: str) -> Iterator[Callable[[Row], None]]:
    """Gives what writes a row: to the standard output, or to a file that appears when all are.

    In a .csv a list stands as JSON. With any other ending but .parquet, lines of JSON
    are written.

    Args:
        path: of the file; "" is the standard output.
    """
    if not path:
        yield lambda row: _line(row, sys.stdout)
        return
    target = Path(path)
    runs.make_folder(target.parent)
    if target.suffix in (".csv", ".parquet"):
        rows: list[Row] = []
        yield rows.append
        write = _csv if target.suffix == ".csv" else _parquet
        write(rows, target)
        return
    with whole_file(target) as file:
        yield lambda row: _line(row, file)


def _line(row: Row, file: TextIO) -> None:
    print(json.dumps(row, ensure_ascii=False), file=file, flush=True)


def _names(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: list[Row], target: Path) -> None:
    with whole_file(target) as file:
        writer = csv.DictWriter(file, _names(rows), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    plain = value is None or isinstance(value, str | int | float)
    return value if plain else json.dumps(value, ensure_ascii=False)


def _parquet(rows: list[Row], target: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    partial = target.with_name(f".{target.name}.partial")
    columns = {name: [row.get(name) for row in rows] for name in _names(rows)}
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), partial)
    except pyarrow.ArrowInvalid as error:
        raise UserError(
            f"the rows do not fit a table of columns ({error}): give --out a name in .jsonl"
        ) from error
    partial.rename(target)
