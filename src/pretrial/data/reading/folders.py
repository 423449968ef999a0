"""What a folder holds: data files, images, recordings or texts, of which one kind is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pretrial.data.media.files import medium_of
from pretrial.data.reading.files import document_row, file_rows, is_data_file
from pretrial.data.rows import Row
from pretrial.errors import UserError

Kind = Literal["data", "image", "audio", "text"]

#: Notes that lie beside data, and are none.
_NOTES = re.compile(r"(readme|licen[cs]e|notice|copying|changelog|citation)\b.*", re.IGNORECASE)
#: Files that tell about the images or recordings beside them, as data sets on the hub have them.
_METADATA = re.compile(r"metadata\.(jsonl|csv|parquet)")
_PLURAL = {"data": "data files", "image": "images", "audio": "recordings", "text": "texts"}


@dataclass(frozen=True)
class Files:
    """The files of a folder that are read.

    Attributes:
        kind: of them.
        files: in the order of their names.
        metadata: rows about images or recordings, by the file that each is about.
        left_out: what was left out, in words; "" where nothing was.
    """

    kind: Kind
    files: Sequence[Path]
    metadata: Mapping[Path, Row]
    left_out: str

    def rows(self, root: Path, skipped: list[str] | None, text: str) -> Iterator[Row]:
        """The rows of all of them; see `file_rows` and `document_row`."""
        for file in self.files:
            if self.kind == "data":
                yield from file_rows(file, skipped, text=text)
            else:
                about = self.metadata.get(file, {})
                yield from (row | about for row in document_row(file, skipped, root))


def look_through(files: Sequence[Path]) -> Files:
    """Chooses the kind of file that most of a folder's files are; of equal ones, data files.

    Notes such as README.md count for nothing where there is anything else. A metadata.jsonl (or
    .csv, .parquet) beside images or recordings gives each the fields of the row with its
    `file_name`.

    Args:
        files: of the folder; there is one.

    Raises:
        UserError: a row of the metadata names no file.
    """
    counted = [file for file in files if not _NOTES.fullmatch(file.name)] or list(files)
    by_kind: dict[Kind, list[Path]] = {"data": [], "image": [], "audio": [], "text": []}
    for file in counted:
        by_kind[_kind_of(file)].append(file)
    metadata: list[Path] = []
    if by_kind["image"] or by_kind["audio"]:
        metadata = [file for file in by_kind["data"] if _METADATA.fullmatch(file.name)]
        by_kind["data"] = [file for file in by_kind["data"] if file not in metadata]
    kind = max(by_kind, key=lambda each: len(by_kind[each]))
    others = {name: own for name, own in by_kind.items() if own and name != kind}
    about = _described(metadata) if kind in ("image", "audio") else {}
    if kind not in ("image", "audio"):
        others |= {"data": [*others.get("data", []), *metadata]} if metadata else {}
    return Files(kind, by_kind[kind], about, _left_out(kind, others))


def _kind_of(file: Path) -> Kind:
    return "data" if is_data_file(file) else medium_of(file)


def _left_out(kind: Kind, others: Mapping[Kind, Sequence[Path]]) -> str:
    if not others:
        return ""
    parts = [f"{len(own)} {_PLURAL[name]} ({own[0].name}, ...)" for name, own in others.items()]
    return f"{' and '.join(parts)} beside the {_PLURAL[kind]}: give them by their own names"


def _described(files: Sequence[Path]) -> dict[Path, Row]:
    """The rows of metadata without `file_name`, by the file that it names."""
    found: dict[Path, Row] = {}
    for file in files:
        for number, row in enumerate(file_rows(file)):
            name = row.pop("file_name", None)
            if not isinstance(name, str) or not (file.parent / name).is_file():
                raise UserError(
                    f"{file}, row {number}: its file_name {name!r} is no file beside it: mend it"
                )
            found[file.parent / name] = row
    return found
