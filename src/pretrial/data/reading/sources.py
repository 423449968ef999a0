"""Reads rows from wherever they are: files, folders, the Hugging Face hub, built-in data sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload
from urllib.parse import parse_qsl

from pretrial.data.builtin.catalogue import builtin
from pretrial.data.problems.apps import apps_folder_rows, apps_questions
from pretrial.data.problems.quixbugs import is_quixbugs, quixbugs_rows
from pretrial.data.reading.files import file_rows, is_data_file
from pretrial.data.reading.folders import look_through
from pretrial.data.reading.naming import fill, found_name, rename
from pretrial.data.reading.pieces import in_pieces
from pretrial.data.rows import Row, Rows, Stream, require
from pretrial.errors import UserError, missing_package, nearest

__all__ = ["Rows", "Stream", "load", "require"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(:[\w.-]+)?")


class Renamed(str):
    """A source whose fields have other names, for callers that pass nothing but the source on.

    Attributes:
        fields: new names, as {wanted: found}; `load` uses them where it is given none.
    """

    fields: Mapping[str, str]

    def __new__(cls, source: str, fields: Mapping[str, str]) -> Renamed:
        """The text of the source, with the names beside it."""
        made = super().__new__(cls, source)
        made.fields = dict(fields)
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, str]]:  # type: ignore[override]
        """What another process makes it of."""
        return str(self), self.fields


@overload
def load(
    source: str | Path,
    *,
    fields: Mapping[str, str] | None = None,
    template: str = "",
    split: str | None = None,
    streaming: Literal[False] = False,
    skip_bad: bool = False,
) -> Rows: ...
@overload
def load(
    source: str | Path,
    *,
    fields: Mapping[str, str] | None = None,
    template: str = "",
    split: str | None = None,
    streaming: Literal[True],
    skip_bad: bool = False,
) -> Stream: ...
def load(
    source: str | Path,
    *,
    fields: Mapping[str, str] | None = None,
    template: str = "",
    split: str | None = None,
    streaming: bool = False,
    skip_bad: bool = False,
) -> Rows | Stream:
    """Reads rows. Of one whose `text` is longer than `pieces.MOST`, several; see `pieces`.

    Args:
        source: a file (.jsonl, .json, .csv, .tsv, each also with .gz, .bz2, .xz, .zst or .zip,
            .parquet, .npy, .npz, or one text, image or recording), a folder (of such files, of
            texts, of images or recordings with their label as sub-folder or metadata.jsonl beside
            them, of APPS problems, of QuixBugs, or written by `save_to_disk`), the name of a
            Hugging Face data set ("owner/name" or "owner/name:config"), or "builtin:NAME", with
            options as in "builtin:mini-apps?split=test&seed=1".
        fields: new names, as {wanted: found}; those of a `Renamed` source without them.
        template: what `text` is made of, see `rows.fill`; of the fields with their new names.
        split: of a data set, archive or folder: there the subfolder, or the files whose names begin
            with it.
        streaming: read while iterating, in flat memory, instead of all at once.
        skip_bad: leave broken rows out, with the reasons in `skipped`, instead of raising.

    Raises:
        UserError: nothing there, nothing in it, or a broken row; the message names the mend.
    """
    name = str(source)
    if isinstance(source, Renamed):
        fields = fields or source.fields
    if template:
        rows = load(source, fields=fields, split=split, streaming=streaming, skip_bad=skip_bad)  # type: ignore[call-overload]
        return rows.expanded(lambda row: in_pieces(fill(row, template)))
    if name.startswith("builtin:"):
        rows = _builtin(name, split)
        return _deliver(lambda skipped: iter(rows), name, fields, streaming)
    path = Path(source).expanduser()
    text = found_name(fields, "text")
    if path.is_dir():
        return _folder(path, name, fields, split, streaming, skip_bad)
    if path.is_file():
        if split is not None and path.suffix.lower() != ".npz":
            raise UserError(f"{path} is one file and has no splits: leave out split={split!r}")
        return _deliver(
            lambda skipped: file_rows(path, skipped if skip_bad else None, split, text),
            name,
            fields,
            streaming,
            [path],
        )
    if isinstance(source, Path) or not _HUB_NAME.fullmatch(name) or is_data_file(path):
        raise _missing(path)
    return _hub(name, fields, split, streaming)


def _deliver(
    read: Callable[[list[str]], Iterator[Row]],
    name: str,
    fields: Mapping[str, str] | None,
    streaming: bool,
    files: Sequence[Path] = (),
) -> Any:
    """Rows, or a stream of them, from a function that reads and notes what it leaves out."""

    def renamed(skipped: list[str]) -> Iterator[Row]:
        for row in read(skipped):
            yield from in_pieces(rename(row, fields) if fields else row)

    if streaming:
        return Stream(renamed, name, files=files)
    skipped: list[str] = []
    rows = Rows(renamed(skipped), name)
    rows.skipped = skipped
    if not rows:
        reason = f": all {len(skipped)} rows are broken ({skipped[0]})" if skipped else ""
        raise UserError(f"{name} holds no rows{reason}")
    return rows


def _missing(path: Path) -> UserError:
    parent = path.parent
    if not parent.is_dir():
        return UserError(f"there is no folder {parent}, so no {path.name} in it: check the path")
    there = [item.name for item in parent.iterdir() if not item.name.startswith(".")]
    hint = f"nearest there: {nearest(path.name, there)}" if there else "that folder is empty"
    return UserError(f"there is no {path.name} in {parent.resolve()}; {hint}")


def _builtin(name: str, split: str | None) -> Rows:
    name, _, query = name.removeprefix("builtin:").partition("?")
    options: dict[str, Any] = {key: _value(text) for key, text in parse_qsl(query)}
    return builtin(name, **(options if split is None else options | {"split": split}))


def _folder(
    path: Path,
    name: str,
    fields: Mapping[str, str] | None,
    split: str | None,
    streaming: bool,
    skip_bad: bool,
) -> Any:
    if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
        return _hub(name, fields, split, streaming)
    root = path / split if split is not None and (path / split).is_dir() else path
    if apps_questions(root):
        if split is not None and root is path:
            raise UserError(f"{path} has no folder {split}: leave out split={split!r}")
        return _deliver(lambda skipped: apps_folder_rows(root), name, fields, streaming)
    if is_quixbugs(root):
        return _deliver(lambda skipped: quixbugs_rows(root), name, fields, streaming)
    try:
        files = sorted(f for f in root.rglob("*") if f.is_file() and not f.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"cannot read all of {root} ({error.filename}: {error.strerror}): give a folder that"
            " you may read"
        ) from error
    if split is not None and root is path:
        files = [file for file in files if file.name.startswith(split)]
        if not files:
            raise UserError(f"{path} has neither a folder {split} nor files {split}*: check split")
    if not files:
        raise UserError(f"{root} is an empty folder: put data files or texts into it")
    found = look_through(files)

    def read(skipped: list[str]) -> Iterator[Row]:
        if found.left_out:
            skipped.append(found.left_out)
        yield from found.rows(root, skipped if skip_bad else None, found_name(fields, "text"))

    return _deliver(read, name, fields, streaming, found.files)


def _hub(name: str, fields: Mapping[str, str] | None, split: str | None, streaming: bool) -> Any:
    """A Hugging Face data set, by its name on the hub or from a folder of `save_to_disk`."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise missing_package("datasets", "data") from error
    saved = Path(name).is_dir()
    title, _, config = (name, "", "") if saved else name.partition(":")
    try:
        if saved:
            found = datasets.load_from_disk(title)
        else:
            found = datasets.load_dataset(title, config or None, streaming=streaming)
    except Exception as error:  # the library raises errors of a dozen kinds, network ones too
        raise UserError(
            f"cannot load the data set {name!r} ({type(error).__name__}: {_first_line(error)}):"
            " check the name and the network, or give a file or folder"
        ) from error
    if isinstance(found, dict):
        chosen = split or ("train" if "train" in found else next(iter(found)))
        if chosen not in found:
            raise UserError(f"{name} has no split {chosen!r}; it has: {', '.join(found)}")
        found = found[chosen]
    elif split is not None:
        raise UserError(f"{name} is one data set and has no splits: leave out split={split!r}")
    return _deliver(lambda skipped: iter(found), name, fields, streaming)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _value(text: str) -> int | float | str:
    """A number where the text is one."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d*\.\d+", text) else text
