"""Texts as windows of token ids, kept compactly: four bytes a token, in memory or on the disk."""

from __future__ import annotations

import contextlib
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXTS_AT_ONCE = 1000
_IDS, _ENDS = "ids.bin", "ends.bin"
_NUMBER = struct.Struct("=q")


class TokenWindows(Sequence[list[int]]):
    """Windows of at most `length` token ids, without special tokens.

    A text longer than that becomes several windows; texts are never joined, so a window holds one
    text only. Empty texts give no window.
    """

    def __init__(
        self, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int
    ) -> None:
        self._ids = array("i")
        self._ends = array("q", [0])
        for window in _cut(texts, tokenizer, length):
            self._ids.extend(window)
            self._ends.append(len(self._ids))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self._ids[self._ends[index] : self._ends[index + 1]].tolist()


def _cut(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> Iterator[list[int]]:
    texts = iter(texts)
    while chunk := list(islice(texts, _TEXTS_AT_ONCE)):
        for ids in tokenizer(chunk, add_special_tokens=False)["input_ids"]:
            for start in range(0, len(ids), length):
                yield ids[start : start + length]


def write_windows(
    folder: Path, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> None:
    """Writes the windows that `TokenWindows` would hold, for `DiskWindows` to read."""
    end = 0
    with (folder / _IDS).open("wb") as ids, (folder / _ENDS).open("wb") as ends:
        ends.write(_NUMBER.pack(0))
        for window in _cut(texts, tokenizer, length):
            ids.write(array("i", window).tobytes())
            end += len(window)
            ends.write(_NUMBER.pack(end))


class DiskWindows(Sequence[list[int]]):
    """The windows in a folder, each read when it is asked for."""

    on_disk = True

    def __init__(self, folder: Path) -> None:
        self._ids = self._ends = -1
        self._ids = os.open(folder / _IDS, os.O_RDONLY)
        self._ends = os.open(folder / _ENDS, os.O_RDONLY)
        self._count = os.fstat(self._ends).st_size // _NUMBER.size - 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        # pread, and no memory map, whose pages would count as the process's
        pair = os.pread(self._ends, 2 * _NUMBER.size, index * _NUMBER.size)
        begin, end = struct.unpack("=2q", pair)
        ids = array("i")
        ids.frombytes(os.pread(self._ids, (end - begin) * ids.itemsize, begin * ids.itemsize))
        return ids.tolist()

    def __del__(self) -> None:
        for file in (self._ids, self._ends):
            with contextlib.suppress(OSError):
                os.close(file)


class JoinedWindows(Sequence[list[int]]):
    """Texts joined, with the end token behind each, and cut into windows of `length` tokens.

    The last window of a list is shorter; every token comes once. A window of one token, which has
    none to predict, is left out.

    Args:
        tokens: of each text.
        lists: places of the texts to join, in order; only what is in one list is joined.
        length: tokens of a window.
        end: the end token.
    """

    def __init__(
        self,
        tokens: Sequence[list[int]],
        lists: Iterable[Sequence[int]],
        length: int,
        end: int,
    ) -> None:
        self._ids = array("i")
        self._ends = array("q", [0])
        for places in lists:
            begin = len(self._ids)
            for place in places:
                self._ids.extend(tokens[place])
                self._ids.append(end)
            self._ends.extend(range(begin + length, len(self._ids), length))
            if len(self._ids) - self._ends[-1] > 1:
                self._ends.append(len(self._ids))
            else:
                del self._ids[self._ends[-1] :]

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self._ids[self._ends[index] : self._ends[index + 1]].tolist()
