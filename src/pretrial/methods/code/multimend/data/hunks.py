"""Hunks: the wrong lines of a file, what may stand there instead, and the diff between both."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pretrial.code_views import View
from pretrial.errors import UserError

_WINDOW = 3  # lines on either side, where no function encloses a hunk (release)
_PLACE = re.compile(r"(?P<path>.+):(?P<before>\+)?(?P<start>\d+)(?:-(?P<end>\d+))?")


class Hunk(NamedTuple):
    """Neighbouring wrong lines of one file.

    Attributes:
        path: of the file in its tree.
        start: the first line, counted from 1; with no lines, the one to insert before.
        num_lines: how many; 0 where only something is missing.
    """

    path: str
    start: int
    num_lines: int

    @classmethod
    def parse(cls, text: str) -> Hunk:
        """Reads "a.py:7" (one line), "a.py:7-9" (three) or "a.py:+7" (something before line 7).

        Raises:
            UserError: not of that form.
        """
        match = _PLACE.fullmatch(text)
        start, end = (int(match[name] or 0) for name in ("start", "end")) if match else (0, 0)
        wrong = not match or start < 1 or (match["end"] and (match["before"] or end < start))
        if not match or wrong:
            raise UserError(
                f"{text!r} names no lines: write a.py:7 for a line, a.py:7-9 for several, or"
                " a.py:+7 where something is missing before line 7"
            )
        return cls(match["path"], start, 0 if match["before"] else max(end - start, 0) + 1)

    def __str__(self) -> str:
        if not self.num_lines:
            return f"{self.path}:+{self.start}"
        last = self.start + self.num_lines - 1
        return f"{self.path}:{self.start}" + (f"-{last}" if self.num_lines > 1 else "")

    def lines(self, text: str) -> list[str]:
        """The wrong lines of the file's text."""
        return text.split("\n")[self.start - 1 : self.start - 1 + self.num_lines]

    def check(self, text: str) -> None:
        """Makes sure that the file has these lines.

        Raises:
            UserError: it is shorter.
        """
        num_lines = len(text.split("\n")) - text.endswith("\n")
        if self.start - 1 + self.num_lines > num_lines + (not self.num_lines):
            raise UserError(f"{self.path} has {num_lines} lines, so no hunk {self}: check it")


Edits = Mapping[Hunk, Sequence[str]]


def apply(text: str, edits: Edits) -> str:
    """The text of a file with new lines, as they are, in place of its hunks.

    Raises:
        UserError: two hunks overlap.
    """
    lines = text.split("\n")
    below = len(lines) + 1
    for hunk in sorted(edits, key=lambda hunk: hunk.start, reverse=True):  # line numbers stay valid
        if hunk.start + hunk.num_lines > below:
            raise UserError(f"the hunk {hunk} overlaps another one: give each line once")
        below = hunk.start
        lines[hunk.start - 1 : hunk.start - 1 + hunk.num_lines] = edits[hunk]
    return "\n".join(lines)


def fitted(text: str, hunk: Hunk, patch: str) -> list[str]:
    """The lines of a patch, indented as the lines of the hunk, or as their neighbours.

    Lines of the patch keep their indentation against its first one. Where something is inserted the
    deeper one of both neighbours counts. An empty patch has no lines.
    """
    if not patch.strip():
        return []
    lines = text.split("\n")
    place = hunk.start - 1
    near = [line for line in hunk.lines(text) if line.strip()][:1]
    if not near:
        before = next((line for line in reversed(lines[:place]) if line.strip()), "")
        after = next((line for line in lines[place + hunk.num_lines :] if line.strip()), "")
        near = [max((before, after), key=lambda line: len(_indent(line)))]
    indent, end = _indent(near[0]), "\r" if "\r\n" in text else ""
    body = [line.rstrip() for line in patch.strip().split("\n")]
    return [(indent + line if line else "") + end for line in body]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def enclosing_lines(code: View, hunk: Hunk) -> tuple[int, int]:
    """First line and the one behind the last of the function around a hunk, or of a window."""
    function = code.enclosing_function(hunk.start)
    if function is not None:
        return code.line_of(function.start), code.line_of(function.end - 1) + 1
    last = len(code.text.split("\n")) - code.text.endswith("\n")
    return max(1, hunk.start - _WINDOW), min(last, hunk.start + hunk.num_lines - 1 + _WINDOW) + 1


def unified_diff(path: str, old: str, new: str) -> str:
    """The difference of two texts of a file, as `git apply` and `patch -p1` take it."""
    pieces = []
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"):
        pieces.append(line)
        if not line.endswith("\n"):
            pieces.append("\n\\ No newline at end of file\n")
    return "".join(pieces)
