"""Files that may be compressed: opened as what is in them, whatever they were compressed with."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pretrial.errors import UserError, missing_package


def plain_name(path: Path) -> str:
    """The name of what is in a file, in lower case: without .gz and its like.

    A .zip is called as the one file in it, where its own name does not say what that is.
    """
    name = path.name.lower()
    suffix = Path(name).suffix
    if suffix not in _OPENERS:
        return name
    inner = name.removesuffix(suffix)
    if suffix == ".zip" and not Path(inner).suffix and path.is_file():
        with explained(path):
            return PurePosixPath(_only_member(path)).name.lower()
    return inner


def is_compressed(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() in _OPENERS


def open_plain(path: Path) -> BinaryIO:
    """What is in a file, as bytes that can be read from any place.

    Raises:
        UserError: a .zip holds more than one file, or a package is not installed.
    """
    opener = _OPENERS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Says which file it is that cannot be unpacked.

    Raises:
        UserError: instead of what the library raises.
    """
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise _broken(path, error) from error
    except OSError as error:
        # bz2 and zstd have no error of their own; those of the system have a number
        if error.errno is None and is_compressed(path):
            raise _broken(path, error) from error
        raise


def _broken(path: Path, error: Exception) -> UserError:
    suffix = path.suffix.lower()
    kind = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}.get(suffix, suffix.lstrip("."))
    return UserError(f"{path} is not a whole {kind} file ({error}): get it again")


def _only_member(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise UserError(f"{path} holds {len(names)} files: unpack it, and give the folder")
    return names[0]


def _unzipped(path: Path) -> BinaryIO:
    with explained(path):
        member = _only_member(path)
        archive = zipfile.ZipFile(path)
        return archive.open(member)  # type: ignore[return-value]


class _Zstd(io.RawIOBase):
    """A .zst file. Going back means reading anew from the beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._again()

    def _again(self) -> None:
        try:
            import pyarrow
        except ModuleNotFoundError as error:
            raise missing_package("pyarrow", "data") from error
        self._stream = pyarrow.input_stream(str(self._path), compression="zstd")
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._place
        elif whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a compressed file is not known")
        if offset < self._place:
            self._stream.close()
            self._again()
        while part := self._stream.read(min(1 << 20, offset - self._place)):
            self._place += len(part)
        return self._place

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


_OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": gzip.GzipFile,  # type: ignore[dict-item]
    ".bz2": bz2.BZ2File,  # type: ignore[dict-item]
    ".xz": lzma.LZMAFile,  # type: ignore[dict-item]
    ".zst": lambda path: io.BufferedReader(_Zstd(path), 1 << 20),  # type: ignore[type-var]
    ".zip": _unzipped,
}
