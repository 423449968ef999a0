"""Long texts in pieces, each a row of its own, so that one text may be larger than memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pretrial.data.rows import Row

#: Characters of the longest piece, which is more than most books have.
MOST = 1_000_000
_NEAR = 16  # a good end is looked for in the last part of this size
# the best end of a piece first: a line's, then a word's, both where tokenizers part words anyway
_ENDS = (re.compile(r"(?<=\S)\n(?=\S)"), re.compile(r"(?<=\S)(?= \S)"), re.compile(r"\s"))


def pieces(chunks: Iterable[str], most: int = MOST) -> Iterator[str]:
    """A text in pieces of at most `most` characters, which joined are the text again.

    A piece ends with a line where it can, else with a word, else anywhere. Where it ends does not
    depend on how the text comes. An empty text gives no piece.

    Args:
        chunks: of the text, in order; so much of it is in memory, and one piece.
        most: 2 or more.
    """
    held = ""
    for chunk in chunks:
        held += chunk
        begin = 0
        while len(held) - begin > most:
            end = _end(held, begin, begin + most)
            yield held[begin:end]
            begin = end
        held = held[begin:]
    if held:
        yield held


def _end(text: str, begin: int, most: int) -> int:
    """Where the piece that begins there ends, `most` at the furthest."""
    near = most - max((most - begin) // _NEAR, 1)
    # one more character, since what follows tells an end too
    for pattern in _ENDS:
        ends = [found.end() for found in pattern.finditer(text, near, most + 1)]
        while ends and ends[-1] > most:
            ends.pop()
        if ends:
            return ends[-1]
    return most


def in_pieces(row: Row, field: str = "text", most: int = MOST) -> Iterator[Row]:
    """A row, or several where its text is longer than a piece; their other fields are the same."""
    text = row.get(field)
    if not isinstance(text, str) or len(text) <= most:
        yield row
    else:
        for piece in pieces([text], most):
            yield {**row, field: piece}
