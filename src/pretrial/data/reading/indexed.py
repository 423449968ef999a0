"""Rows that stay on the disk and are read by position, for data larger than memory.

An index says in which file, where, and how long each row is. It is made in one pass, in which every
row is read and a broken one found. JSON lines are then read where they are; what cannot be read by
position (tables, compressed files, data sets of the hub, and the pieces of long texts) is copied
once, as JSON lines, beside the index. Rows are read by `pread` and not mapped, so that a process's
memory is its own and not what the system caches for it.

    index.json       the setting, the files with their size, time and checksum, the rows left out
    PART.places      for each row of a part three 64-bit numbers: file, start, length
    rows.jsonl       the copy, where one was needed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, overload

from pretrial.data.reading.files import BadLineError, are_plain_lines, json_line, json_lines
from pretrial.data.reading.naming import found_name, rename
from pretrial.data.rows import Row, Rows, Stream
from pretrial.errors import UserError

_INDEX, _COPY = "index.json", "rows.jsonl"
_PLACE = struct.Struct("<3q")
_PLACES_AT_ONCE = 4096
_MOST_OPEN = 256
_DIGEST = "blake2b"
_WHOLE = "all"
Place = tuple[int, int, int]


class DiskRows(Sequence[Row]):
    """One part of the rows of an index, as a sequence.

    Attributes:
        source: where they come from, for messages.
        skipped: why rows were left out, one text each.
        on_disk: True; see `rows.is_on_disk`.
    """

    on_disk = True

    def __init__(self, folder: Path, part: str = _WHOLE) -> None:
        self._places, self._files = -1, dict[int, int]()
        about = _read_index(folder)
        self.source: str = about["source"]
        self.skipped: list[str] = about["skipped"]
        self._fields: dict[str, str] = about["fields"]
        in_place = about["in_place"]
        files = [Path(f["path"]) for f in about["files"]] if in_place else []
        self._paths = [*files, folder / _COPY]
        self._places = os.open(folder / f"{part}.places", os.O_RDONLY)
        self._count = os.fstat(self._places).st_size // _PLACE.size

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            rows = (self[i] for i in range(*index.indices(len(self))))
            return Rows(rows, self.source)
        index = range(len(self))[index]
        return self._at(*_PLACE.unpack(os.pread(self._places, _PLACE.size, index * _PLACE.size)))

    def __iter__(self) -> Iterator[Row]:
        step = _PLACES_AT_ONCE * _PLACE.size
        for start in range(0, len(self) * _PLACE.size, step):
            for place in _PLACE.iter_unpack(os.pread(self._places, step, start)):
                yield self._at(*place)

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self.source}, on the disk>"

    def __del__(self) -> None:
        for file in [*self._files.values(), self._places]:
            with contextlib.suppress(OSError):
                os.close(file)

    def _file(self, number: int) -> int:
        """An open file; a system lets a process have about a thousand, and shards may be more."""
        if number not in self._files:
            if len(self._files) >= _MOST_OPEN:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[number] = os.open(self._paths[number], os.O_RDONLY)
        return self._files[number]

    def _at(self, number: int, start: int, length: int) -> Row:
        line = os.pread(self._file(number), length, start)
        try:
            row = json_line(line, start == 0)
        except BadLineError as error:
            raise UserError(
                f"{self._paths[number]} has changed while it was in use (what stands at byte"
                f" {start} {error}): put the old file back and run the same command again"
            ) from error
        return rename(row, self._fields) if self._fields else row


def write_index(
    folder: Path,
    rows: Stream,
    setting: Mapping[str, Any],
    part_of: Callable[[Row], str],
    parts: Sequence[str],
    *,
    fields: Mapping[str, str] | None = None,
    limit: int = 0,
    skip_bad: bool = False,
) -> None:
    """Reads all rows once and writes their index.

    Args:
        folder: where to; it is there and empty.
        rows: of the source, as `load(..., streaming=True)` gives them with the same options.
        setting: what decides which rows there are; `check_index` compares it.
        part_of: the part that a row belongs to.
        parts: names of all parts.
        fields: new names, as {wanted: found}.
        limit: take that many rows from the beginning; 0 takes all.
        skip_bad: leave broken rows out.

    Raises:
        UserError: there are no rows, one is broken, or somebody writes to the files.
    """
    stamps = [_stamp(path) for path in rows.files]
    in_place = bool(rows.files) and rows.as_written and all(map(are_plain_lines, rows.files))
    skipped: list[str] = []
    if in_place:
        found = _in_place(rows.files, fields, skipped if skip_bad else None, folder / _COPY)
    else:
        found = _copied(rows, folder / _COPY)
    with ExitStack() as stack:
        files = {
            part: stack.enter_context((folder / f"{part}.places").open("wb")) for part in parts
        }
        count = 0
        for place, row in islice(found, limit or None):
            files[part_of(row)].write(_PLACE.pack(*place))
            count += 1
    skipped = skipped if in_place else rows.skipped
    if not count:
        reason = f": all {len(skipped)} rows are broken ({skipped[0]})" if skipped else ""
        raise UserError(f"{rows.source} holds no rows{reason}")
    if [_stamp(path) for path in rows.files] != stamps:
        raise UserError(
            f"{rows.source} changed while it was read: wait until nobody writes to it and run the"
            " same command again"
        )
    about = {
        "setting": dict(setting),
        "source": rows.source,
        "fields": dict(fields or {}) if in_place else {},
        "in_place": in_place,
        "files": [
            {**stamp, "digest": _digest(path)}
            for stamp, path in zip(stamps, rows.files, strict=True)
        ],
        "skipped": skipped,
    }
    (folder / _INDEX).write_text(json.dumps(about), encoding="utf-8")


def write_rows(folder: Path, rows: Iterable[Row]) -> None:
    """Writes rows that were made, for `DiskRows(folder)` to read; there may be none."""
    stream = Stream(lambda skipped: iter(rows), str(folder))
    with (folder / f"{_WHOLE}.places").open("wb") as places:
        for place, _ in _copied(stream, folder / _COPY):
            places.write(_PLACE.pack(*place))
    about = {"source": str(folder), "skipped": [], "fields": {}, "in_place": False, "files": []}
    (folder / _INDEX).write_text(json.dumps(about), encoding="utf-8")


def check_index(folder: Path, setting: Mapping[str, Any]) -> str:
    """Whether an index is that of the files as they are now.

    A file of the same size and another time, such as a copy, is known by its checksum.

    Returns:
        "" where it is; else why not, for a message.
    """
    if not (folder / _INDEX).is_file():
        return "there is none"
    about = _read_index(folder)
    if about["setting"] != json.loads(json.dumps(dict(setting))):
        return "it was made with other options"
    for old in about["files"]:
        path = Path(old["path"])
        if not path.is_file():
            return f"{path} is gone"
        new = _stamp(path)
        if new["size"] != old["size"]:
            return f"{path} had {old['size']:,} bytes and has {new['size']:,} now"
        if new["time"] != old["time"] and _digest(path) != old["digest"]:
            return f"{path} has other content now"
    return ""


def _read_index(folder: Path) -> dict[str, Any]:
    return json.loads((folder / _INDEX).read_text(encoding="utf-8"))


def _stamp(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"path": str(path.resolve()), "size": stat.st_size, "time": stat.st_mtime_ns}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, _DIGEST).hexdigest()


def _in_place(
    files: Sequence[Path], fields: Mapping[str, str] | None, skipped: list[str] | None, copy: Path
) -> Iterator[tuple[Place, Row]]:
    """Places in the files themselves, and rows; of pieces of long texts, places in a copy."""
    text, end = found_name(fields, "text"), 0
    with copy.open("wb") as copied:
        for number, path in enumerate(files):
            for start, length, row in json_lines(path, skipped, text):
                place = number, start, length
                if not length:
                    place = len(files), end, copied.write(json.dumps(row).encode() + b"\n")
                    end += place[2]
                yield place, rename(row, fields) if fields else row
    if not end:
        copy.unlink()


def _copied(rows: Stream, path: Path) -> Iterator[tuple[Place, Row]]:
    """Writes the rows to a file; places in it, and rows."""
    start = 0
    with path.open("wb") as file:
        for row in rows:
            try:
                line = json.dumps(row).encode() + b"\n"
            except TypeError as error:
                raise UserError(
                    f"a row of {rows.source} cannot be kept as JSON ({error}): leave that field"
                    " out, or keep the data in memory"
                ) from error
            file.write(line)
            yield (0, start, len(line)), row
            start += len(line)
