"""Rows of tables: .csv, .tsv and .parquet."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrial.data.reading.broken import Skipped, bad
from pretrial.data.reading.compressed import open_plain, plain_name
from pretrial.data.rows import Row
from pretrial.errors import UserError, missing_package

_DELIMITERS = ",;\t|"


def csv_rows(path: Path, skipped: Skipped) -> Iterator[Row]:
    """Rows of a .csv or .tsv file with a header.

    The delimiter of a .csv file is the comma, or that of semicolon, tab and bar which its header
    has where it has no comma.

    Raises:
        UserError: it is not UTF-8, a name stands twice in its header, or a row is broken.
    """
    csv.field_size_limit(sys.maxsize)
    with (
        open_plain(path) as binary,
        io.TextIOWrapper(binary, "utf-8-sig", newline="") as file,
    ):
        try:
            header = file.readline()
            file.seek(0)
            delimiter = _delimiter(header, plain_name(path))
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            _check_names(reader.fieldnames or [], path)
            for row in reader:
                if None in row or None in row.values():
                    bad(
                        f"{path}, line {reader.line_num} has not the"
                        f" {len(reader.fieldnames or [])} columns of the header",
                        skipped,
                        "mend the line",
                    )
                else:
                    yield row
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8: convert it") from error
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}: mend the line") from error


def _delimiter(header: str, name: str) -> str:
    """What parts the columns, by the header's first line."""
    if name.endswith(".tsv"):
        return "\t"
    outside = "".join(header.split('"')[::2])  # what stands between quotes is no delimiter
    counts = Counter(character for character in outside if character in _DELIMITERS)
    return "," if "," in counts or not counts else counts.most_common(1)[0][0]


def _check_names(names: Sequence[str], path: Path) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise UserError(
            f"the header of {path} has the name {name!r} {count} times: give each column a name"
            " of its own"
        )


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a .parquet file.

    Raises:
        UserError: it is none, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise missing_package("pyarrow", "data") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a parquet file ({error}): check its name") from error
