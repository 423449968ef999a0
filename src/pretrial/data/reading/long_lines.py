"""Lines of JSON whose text is larger than memory: the text stays where it is, and is read in parts.

A line is looked through once, in flat memory: strings that are too long are left out of it, and
only checked; the rest is parsed as usual. If what was left out is the row's text, it can then be
read from its place.
"""

from __future__ import annotations

import codecs
import json
import re
import secrets
from collections.abc import Iterator
from typing import BinaryIO

#: Bytes of a line that is read whole.
LONG = 16_000_000
_CHUNK = 1 << 20
_HIGH_HALF = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")


class LongLine:
    """What is found in a long line.

    Args:
        file: stands behind `head`, which has no end of line; it is read to the end of the line.
        head: what has been read of the line.
        most: bytes of a string that is not left out.

    Attributes:
        length: bytes of the line.
        rest: the line with a mark in place of each string that is too long; None where it is too
            long without them.
        places: begin and end of these strings in the line, by their marks.
        fault: what is wrong with one of them, or "".
    """

    def __init__(self, file: BinaryIO, head: bytes, most: int) -> None:
        self.length = 0
        self.places: dict[str, tuple[int, int]] = {}
        self.fault = ""
        self._most = most
        self._name = secrets.token_hex(16)  # which no data holds
        self._rest = bytearray()
        self._opened = -1  # where the open string begins in the rest; -1 outside of strings
        self._begin = 0  # and in the line
        self._slashes = 0  # that the open string ended with so far
        self._checked: Unescaped | None = None  # the open string, where it is too long
        for start in range(0, len(head), _CHUNK):
            self._add(head[start : start + _CHUNK])
        while chunk := file.readline(_CHUNK):
            self._add(chunk)
            if chunk.endswith(b"\n"):
                break
        self.rest = bytes(self._rest) if len(self._rest) <= LONG else None

    def _add(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk):
            if self._opened < 0:
                quote = chunk.find(b'"', at)
                stop = len(chunk) if quote < 0 else quote + 1
                self._keep(chunk[at:stop])
                if quote >= 0:
                    self._opened, self._slashes = len(self._rest), 0
                    self._begin = self.length + stop
            else:
                stop = self._string_end(chunk, at)
                self._take(chunk[at:stop])
                if stop < len(chunk):
                    self._close(self.length + stop)
                    stop += 1
            at = stop
        self.length += len(chunk)

    def _keep(self, part: bytes) -> None:
        if len(self._rest) <= LONG:
            self._rest += part

    def _string_end(self, chunk: bytes, begin: int) -> int:
        """Where the quote is that ends the open string; the end of the chunk if there is none."""
        at = begin
        while (quote := chunk.find(b'"', at)) >= 0:
            if not _odd_slashes(chunk, begin, quote, self._slashes):
                return quote
            at = quote + 1
        odd = _odd_slashes(chunk, begin, len(chunk), self._slashes)
        self._slashes = int(odd)
        return len(chunk)

    def _take(self, part: bytes) -> None:
        """Adds to the open string."""
        if self._checked is None:
            self._keep(part)
            if len(self._rest) - self._opened <= self._most or len(self._rest) > LONG:
                return
            part = bytes(self._rest[self._opened :])
            del self._rest[self._opened :]
            self._checked = Unescaped()
        self._check(part)

    def _check(self, part: bytes, is_last: bool = False) -> None:
        assert self._checked is not None
        if not self.fault:
            try:
                self._checked.add(part, is_last).encode()
            except UnicodeDecodeError:
                self.fault = "is not UTF-8"
            except UnicodeEncodeError as error:
                half = ord(error.object[error.start])
                self.fault = f"holds \\u{half:04x}, half of a surrogate pair, which is no text"
            except json.JSONDecodeError as error:
                self.fault = f"is not JSON ({error.msg})"

    def _close(self, end: int) -> None:
        if self._checked is not None:
            self._check(b"", is_last=True)
            mark = f"{self._name}-{len(self.places)}"
            self.places[mark] = self._begin, end
            self._rest += mark.encode()
        self._keep(b'"')
        self._opened, self._checked = -1, None


class Unescaped:
    """The text of a JSON string, whose bytes come in parts."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held = ""

    def add(self, part: bytes, is_last: bool = False) -> str:
        """What follows in the text; what cannot be told yet comes with the next part.

        Raises:
            UnicodeDecodeError: the string is not UTF-8.
            JSONDecodeError: it is none.
        """
        escaped = self._held + self._decoder.decode(part, is_last)
        end = len(escaped) if is_last else _end_of_signs(escaped)
        self._held = escaped[end:]
        return str(json.loads(f'"{escaped[:end]}"'))


def text_of(file: BinaryIO, begin: int, end: int) -> Iterator[str]:
    """The text of the string between two places of a file, in parts."""
    file.seek(begin)
    text = Unescaped()
    while begin < end and (part := file.read(min(_CHUNK, end - begin))):
        begin += len(part)
        yield text.add(part, begin == end)


def _odd_slashes(chunk: bytes, begin: int, end: int, before: int) -> bool:
    """Whether an odd number of backslashes stands before `end`; `before`: those before `begin`."""
    place = end
    while place > begin and chunk[place - 1 : place] == b"\\":
        place -= 1
    return bool((end - place + (before if place == begin else 0)) % 2)


def _end_of_signs(escaped: str) -> int:
    """Where the last whole sign ends; both halves of a pair of surrogates are one sign."""
    end = len(escaped)
    slash = escaped.rfind("\\", max(end - 6, 0))
    if slash >= 0 and _begins_escape(escaped, slash):
        size = 6 if escaped[slash + 1 : slash + 2] == "u" else 2
        if end - slash < size:
            end = slash
    half = max(end - 6, 0)
    if _HIGH_HALF.fullmatch(escaped, half, end) and _begins_escape(escaped, half):
        end = half
    return end


def _begins_escape(escaped: str, slash: int) -> bool:
    """Whether the backslash there is not itself escaped."""
    place = slash
    while place > 0 and escaped[place - 1] == "\\":
        place -= 1
    return (slash - place) % 2 == 0
