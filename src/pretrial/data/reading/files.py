"""Rows of one file. Broken rows raise, or are left out and noted where a list is given for it."""

from __future__ import annotations

import codecs
import io
import json
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pretrial.data.media.files import Medium, media_row, medium_of
from pretrial.data.media.image import image_fault
from pretrial.data.reading.arrays import numpy_rows
from pretrial.data.reading.broken import Skipped, bad
from pretrial.data.reading.compressed import explained, is_compressed, open_plain, plain_name
from pretrial.data.reading.long_lines import LONG, LongLine, text_of
from pretrial.data.reading.pieces import MOST, in_pieces, pieces
from pretrial.data.reading.tables import csv_rows, parquet_rows
from pretrial.data.rows import Row
from pretrial.errors import UserError

_KINDS = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".npy": "arrays",
    ".npz": "arrays",
}
_CHUNK = 1 << 20


def is_data_file(path: Path) -> bool:
    """Whether the name says that the file holds rows, not text."""
    return _suffix(path) in _KINDS


def file_rows(
    path: Path, skipped: Skipped = None, split: str | None = None, text: str = "text"
) -> Iterator[Row]:
    """Rows of a file, read while one iterates.

    Args:
        path: the file; its name tells its form: rows, arrays, an image or a recording. Another is
            one text.
        skipped: where to note broken rows; None raises at the first.
        split: of an archive of arrays.
        text: name of the field that is read in pieces where it is long, in JSON lines.

    Raises:
        UserError: the file is empty, broken, or not what its name says.
    """
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty: give a file with rows")
    kind = _KINDS.get(_suffix(path), "text")
    with explained(path):
        if kind == "lines":
            yield from _lines(path, skipped, text)
        elif kind == "json":
            yield from _json(path, skipped, text)
        elif kind == "csv":
            yield from csv_rows(path, skipped)
        elif kind == "parquet":
            yield from parquet_rows(path)
        elif kind == "arrays":
            yield from numpy_rows(path, split)
        else:
            yield from document_row(path, skipped, path.parent)


def document_row(path: Path, skipped: Skipped, root: Path) -> Iterator[Row]:
    """The row of an image, a recording or a text, with its `path` below `root`.

    A text that is longer than `pieces.MOST` is several rows. All of it is looked through first, so
    that a broken one gives none.
    """
    medium = medium_of(path)
    if medium != "text":
        fault = _fault(path, medium)
        if fault:
            what = "image" if medium == "image" else "recording"
            bad(f"{path} is no whole {what} ({fault})", skipped, "get it again")
        else:
            yield media_row(path, medium, root)
        return
    name = path.relative_to(root).as_posix()
    size = path.stat().st_size
    if not size:
        yield {"text": "", "path": name}
    try:
        if size > MOST or is_compressed(path):
            deque(_decoded(path), maxlen=0)
        for piece in pieces(_decoded(path), MOST):
            yield {"text": piece, "path": name}
    except _NotUTF8Error as error:
        bad(f"{path} is not UTF-8 text (byte {error.place})", skipped, "convert it to UTF-8")


def _fault(path: Path, medium: Medium) -> str:
    """Why an image or a recording is damaged, "" where it seems whole."""
    if medium == "image":
        return image_fault(path)
    if medium == "audio":
        from pretrial.data.media.audio import (
            sound_fault,  # imports torch, which images and texts do not
        )

        return sound_fault(path)
    return ""


class _NotUTF8Error(ValueError):
    """What stands at that place of a file is no UTF-8."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def _decoded(path: Path) -> Iterator[str]:
    """A text in parts, with "\n" as the end of every line."""
    plain = codecs.getincrementaldecoder("utf-8-sig")()  # a byte order mark is no text
    decoder = io.IncrementalNewlineDecoder(plain, translate=True)
    place = 0
    with open_plain(path) as file:
        while True:
            part = file.read(_CHUNK)
            place += len(part)
            try:
                yield decoder.decode(part, final=not part)
            except UnicodeDecodeError as error:
                # its object is what was held of the part before, and this one
                raise _NotUTF8Error(place - len(error.object) + error.start) from error
            if not part:
                return


def _suffix(path: Path) -> str:
    return Path(plain_name(path)).suffix


def are_plain_lines(path: Path) -> bool:
    """Whether a file is of JSON lines that can be read by position: not compressed."""
    return _KINDS.get(path.suffix.lower()) == "lines"


class BadLineError(ValueError):
    """A line holds no row: the reason, such as "is not UTF-8", and the mend."""

    def __init__(self, reason: str, mend: str = "mend the line") -> None:
        super().__init__(reason)
        self.mend = mend


def json_line(line: bytes, first: bool) -> Row:
    """The object in a line; the first line of a file may begin with a byte order mark.

    Raises:
        BadLineError: there is none.
    """
    try:
        row = json.loads(line.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError:
        raise BadLineError("is not UTF-8", "convert the file to UTF-8") from None
    except ValueError as error:  # a broken line, or a number of too many digits
        if not line.endswith(b"\n"):
            reason = "is not finished: it has no end of line"
            raise BadLineError(reason, "wait for whoever writes it, or get it again") from None
        raise BadLineError(f"is not JSON ({error})") from None
    except RecursionError:
        raise BadLineError("is nested too deeply") from None
    if not isinstance(row, dict):
        what = f"is a JSON {type(row).__name__}, not an object"
        raise BadLineError(what, 'write each row as {"field": value}')
    if b"\\u" in line and (half := half_of_a_pair(row)):
        raise BadLineError(f"holds {half}, half of a surrogate pair, which is no text")
    return row


def half_of_a_pair(row: Row) -> str:
    """A half of a surrogate pair in a row, as JSON writes it; "" where all texts are whole.

    JSON allows it, no encoding of text does: who cut a text between the halves has broken it.
    """
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(error.object[error.start]):04x}"
    return ""


def json_lines(
    path: Path, skipped: Skipped = None, text: str = "text"
) -> Iterator[tuple[int, int, Row]]:
    """Rows of a file of JSON lines with their places in bytes: (start, length, row).

    A row whose text is longer than `pieces.MOST` is several, of length 0: none of them stands in
    the file as it is.

    Args:
        path: the file; it may be compressed.
        skipped: where to note broken lines; None raises at the first.
        text: name of the field with the text.

    Raises:
        UserError: a line is broken, and `skipped` is None.
    """
    end = number = 0
    with open_plain(path) as file, open_plain(path) as again:
        while line := file.readline(LONG):
            number += 1
            start, length = end, len(line)
            rows: Iterator[Row]
            try:
                if length == LONG and not line.endswith(b"\n"):
                    found = LongLine(file, line, MOST)
                    length, line = found.length, b""
                    rows = _long_row(found, again, start, text)
                elif line.strip():
                    rows = in_pieces(json_line(line, start == 0), text, MOST)
                else:
                    rows = iter(())
            except BadLineError as error:
                bad(f"{path}, line {number} {error}", skipped, error.mend)
            else:
                first = next(rows, None)
                second = next(rows, None)
                if second is not None:
                    yield from ((start, 0, row) for row in chain((first, second), rows) if row)
                elif first is not None:
                    yield start, length, first
            end = start + length


def _long_row(found: LongLine, file: BinaryIO, start: int, text: str) -> Iterator[Row]:
    """The row of a long line, in pieces if it is its text that is long.

    Args:
        found: what was found in the line.
        file: that it stands in, to read it again.
        start: of the line.
        text: name of the field with the text.

    Raises:
        BadLineError: the line holds no row, or more than one long text.
    """
    row = None if found.rest is None else json_line(found.rest, start == 0)
    place = found.places.get(str(row.get(text))) if row else None
    if row is None or place is None:  # something else is long, which is not to be parted
        file.seek(start)
        return iter((json_line(file.read(found.length), start == 0),))
    if found.fault:
        raise BadLineError(found.fault, "mend the line, or convert the file to UTF-8")
    if len(found.places) > 1:
        raise BadLineError(f"has other long strings beside {text!r}", "leave them out")
    begin, end = (start + each for each in place)
    return ({**row, text: piece} for piece in pieces(text_of(file, begin, end), MOST))


def _lines(path: Path, skipped: Skipped, text: str) -> Iterator[Row]:
    return (row for _, _, row in json_lines(path, skipped, text))


def _json(path: Path, skipped: Skipped, text: str) -> Iterator[Row]:
    with open_plain(path) as file:
        content = file.read()
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): convert it") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # JSON lines under the name .json, as the hub has many
            yield from _lines(path, skipped, text)
            return
        where = f"{path}, line {error.lineno}"
        raise UserError(f"{where} is not JSON ({error.msg}): mend it") from error
    except ValueError as error:  # a number of too many digits
        raise UserError(f"{path} is not JSON ({error}): mend it") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply: write it as JSON lines") from error
    for number, row in enumerate(_records(value, path)):
        if isinstance(row, dict) and (half := b"\\u" in content and half_of_a_pair(row)):
            bad(f"{path}, item {number} holds {half}, half of a surrogate pair", skipped, "mend it")
        elif isinstance(row, dict):
            yield row
        else:
            bad(f"{path}, item {number} is not an object", skipped, "write rows as objects")


def _records(value: Any, path: Path) -> list[Any]:
    """The list of rows in a JSON value: itself, or the only list of objects in an object."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if len(lists) == 1:
            return lists[0]
    raise UserError(f"{path} is not a list of objects: write it as [{{...}}, ...] or as JSON lines")
