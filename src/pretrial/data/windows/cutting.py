"""Texts as windows of token ids, kept compactly: four bytes a token, in memory or on the disk."""

from __future__ import annotations

import contextlib
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pretrial.data.reading.pieces import pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXTS_AT_ONCE = 1000
_CHARS_AT_ONCE = 2**20
_IDS, _ENDS = "ids.bin", "ends.bin"
_NUMBER = struct.Struct("=q")


class Windows(Sequence[list[int]]):
    """Windows of token ids in memory."""

    def __init__(self, windows: Iterable[Sequence[int]]) -> None:
        self._ids = array("i")
        self._ends = array("q", [0])
        for window in windows:
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


class TokenWindows(Windows):
    """Windows of at most `length` token ids in memory; see `cut`."""

    def __init__(
        self, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int
    ) -> None:
        super().__init__(cut(texts, tokenizer, length))


def token_ids(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """Token ids of each text without special tokens, in flat memory.

    Special tokens that are written in a text, such as `<s>` in a page or a log, are text like any
    other.

    A tokenizer takes 150 bytes and more for a character, so a text of more than 2**20 characters
    is given to it in pieces that end between words, where it parts words anyway.
    """
    held: list[int] = []
    for group in _groups(texts):
        encoded = tokenizer(
            [piece for piece, _ in group], add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        for (_, is_last), ids in zip(group, encoded, strict=True):
            held += ids
            if is_last:
                yield held
                held = []


def _groups(texts: Iterable[str]) -> Iterator[list[tuple[str, bool]]]:
    """Pieces of texts, and whether they are the last of their text; as many as go at once."""
    group: list[tuple[str, bool]] = []
    size = 0
    for text in texts:
        parts = list(pieces([text], _CHARS_AT_ONCE)) or [""]
        for number, part in enumerate(parts, 1):
            group.append((part, number == len(parts)))
            size += len(part)
            if len(group) >= _TEXTS_AT_ONCE or size >= _CHARS_AT_ONCE:
                yield group
                group, size = [], 0
    if group:
        yield group


def cut(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> Iterator[list[int]]:
    """Windows of at most `length` token ids, without special tokens.

    A text longer than that becomes several windows; texts are never joined, so a window holds one
    text only. Empty texts give no window.
    """
    for ids in token_ids(texts, tokenizer):
        for start in range(0, len(ids), length):
            yield ids[start : start + length]


def joined(
    tokens: Sequence[list[int]], lists: Iterable[Iterable[int]], length: int, end: int
) -> Iterator[list[int]]:
    """Texts joined, with the end token behind each, and cut into windows of `length` tokens.

    The last window of a list is shorter; every token comes once. A window of one token, which has
    none to predict, is left out.

    Args:
        tokens: of each text.
        lists: places of the texts to join, in order; only what is in one list is joined.
        length: tokens of a window.
        end: the end token.
    """
    for places in lists:
        held: list[int] = []
        for place in places:
            held += [*tokens[place], end]
            begin = 0
            while len(held) - begin > length:
                yield held[begin : begin + length]
                begin += length
            del held[:begin]
        if len(held) > 1:
            yield held


def write_windows(folder: Path, windows: Iterable[Sequence[int]]) -> None:
    """Writes windows for `DiskWindows` to read."""
    end = 0
    with (folder / _IDS).open("wb") as ids, (folder / _ENDS).open("wb") as ends:
        ends.write(_NUMBER.pack(0))
        for window in windows:
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
