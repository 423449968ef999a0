"""What can be asked of a piece of source code, whatever its language."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple

Kind = Literal["identifier", "keyword", "number", "string", "comment", "operator"]
Span = tuple[int, int]

_LINE_END = re.compile(r"\r\n?|\n")


class Token(NamedTuple):
    """A lexical token; `start` and `end` are offsets in characters."""

    kind: Kind
    start: int
    end: int


class Function(NamedTuple):
    """A function or method, offsets in characters.

    Attributes:
        name: without its class.
        start: of the first decorator, or of the definition.
        end: behind its last character.
        body_start: of the first statement, which may be the docstring; `end` where there is none.
        docstring: the documentation inside it, or right above it, without its marks; "" for none.
    """

    name: str
    start: int
    end: int
    body_start: int
    docstring: str


class Call(NamedTuple):
    """A call of something that has a name, offsets in characters.

    Attributes:
        name: what is called, "loads" in `json.loads(text)`.
        receiver: source of what stands before the name, "json" there; "" for none.
        start: of the receiver, or of the name.
        name_start: of the name.
        name_end: of the name.
        end: behind the closing bracket.
    """

    name: str
    receiver: str
    start: int
    name_start: int
    name_end: int
    end: int


@dataclass
class Node:
    """A node of a syntax tree.

    Attributes:
        kind: the grammar's name for it; that of the token for a leaf.
        text: the token's source for a leaf, "" otherwise.
        children: in the order of the source; all tokens but comments are leaves of the tree.
    """

    kind: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def leaves(self) -> Iterator[Node]:
        """The tokens below this node, in the order of the source."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.text:
                yield node
            waiting.extend(reversed(node.children))


class Name(NamedTuple):
    """A name that may be replaced by any new one, and where it stands."""

    name: str
    spans: list[Span]


class Place(NamedTuple):
    """The start of a line before which a statement may be put, and its indentation."""

    offset: int
    indent: str


class Edits:
    """Where a text can be changed while it goes on meaning the same; here nowhere.

    What callers outside the text rely on, such as the names of a function's parameters, is not
    known here. Each kind of place is looked for when it is asked for.
    """

    @cached_property
    def variables(self) -> list[Name]:
        """Names local to functions, parameters too."""
        return []

    @cached_property
    def functions(self) -> list[Name]:
        """Names of functions at the outermost level."""
        return []

    @cached_property
    def places(self) -> list[Place]:
        """Lines in the bodies of functions, in order."""
        return []

    @cached_property
    def pairs(self) -> list[tuple[Span, Span]]:
        """Spans of statements that stand side by side, the one not depending on the other."""
        return []


class View(ABC):
    """Source code seen as tokens, names, functions, calls and a tree.

    All offsets are in characters of `text`. Nothing here raises because of what the text holds:
    where it does not parse there are tokens, and no functions, calls or edits.

    Attributes:
        text: the source.
        language: one of `languages()`.
    """

    def __init__(self, text: str, language: str) -> None:
        self.text = text
        self.language = language

    @property
    @abstractmethod
    def parsed(self) -> bool:
        """Whether the text follows the grammar of its language."""

    @cached_property
    @abstractmethod
    def tokens(self) -> list[Token]:
        """All tokens, comments too, in order."""

    @cached_property
    @abstractmethod
    def _functions(self) -> list[Function]:
        """Functions of a text that parses, in the order of their starts."""

    @abstractmethod
    def calls(self) -> list[Call]:
        """Calls of things that have a name, in the order of their names; none if not parsed."""

    @cached_property
    @abstractmethod
    def edits(self) -> Edits:
        """Where the text can be changed without a change of meaning; nowhere if not parsed."""

    @abstractmethod
    def _spans(self) -> Iterator[tuple[str, int, int]]:
        """Kind, start and end of the tree's inner nodes but the root, parents before children."""

    @abstractmethod
    def _docstrings(self) -> list[tuple[Span, str]]:
        """Where the docstrings stand that are code, and what is to stand there without them."""

    def functions(self) -> list[Function]:
        """Functions and methods, nested ones too, by their starts; none if not parsed."""
        return list(self._functions) if self.parsed else []

    def identifiers(self) -> dict[str, list[Span]]:
        """Spans of all occurrences of each name, names in the order of their first use."""
        text = self.text
        found: dict[str, list[Span]] = {}
        for kind, start, end in self.tokens:
            if kind == "identifier":
                found.setdefault(text[start:end], []).append((start, end))
        return found

    def tree(self) -> Node:
        """The syntax tree; of a text that does not parse a root over its tokens.

        The root is called "text"; kinds of inner nodes are those of the parser, `ast` for Python.
        """
        root = Node("text")
        spans = sorted(self._spans() if self.parsed else (), key=lambda item: (item[1], -item[2]))
        open_nodes = [(root, len(self.text))]
        place = 0
        for kind, start, end in self.tokens:
            if kind == "comment":
                continue
            while place < len(spans) and spans[place][1] <= start:
                name, inner_start, inner_end = spans[place]
                place += 1
                if inner_end > start:  # else it holds comments only
                    self._close(open_nodes, inner_start)
                    open_nodes.append((Node(name), inner_end))
                    open_nodes[-2][0].children.append(open_nodes[-1][0])
            self._close(open_nodes, start)
            open_nodes[-1][0].children.append(Node(kind, self.text[start:end]))
        return root

    @staticmethod
    def _close(open_nodes: list[tuple[Node, int]], offset: int) -> None:
        """Drops the nodes that end at or before an offset, but never the root."""
        while len(open_nodes) > 1 and open_nodes[-1][1] <= offset:
            open_nodes.pop()

    def labels(self, offsets: Sequence[Span]) -> list[int]:
        """1 where a sub-word holds a character of an identifier, else 0.

        Args:
            offsets: spans of sub-words, as the `offset_mapping` of a fast tokenizer; those of
                special tokens are empty and get 0.
        """
        names = [token for token in self.tokens if token.kind == "identifier"]
        starts = [token.start for token in names]
        found = []
        for start, end in offsets:
            place = bisect_left(starts, end) - 1
            found.append(int(end > start and place >= 0 and names[place].end > start))
        return found

    def word_starts(self, offsets: Sequence[Span]) -> list[bool]:
        """Where a sub-word begins a word: a token, or in strings and comments what spaces part.

        Args:
            offsets: as for `labels`; special tokens and blanks are words of their own.
        """
        text, tokens = self.text, self.tokens
        starts = [token.start for token in tokens]
        found = []
        for start, end in offsets:
            while start < end and text[start].isspace():
                start += 1
            place = bisect_right(starts, start) - 1
            inside = start < end and place >= 0 and starts[place] < start < tokens[place].end
            if inside and tokens[place].kind in ("string", "comment"):
                inside = not text[start - 1].isspace()
            found.append(not inside)
        return found

    def enclosing_function(self, line: int) -> Function | None:
        """The innermost function that a line, counted from 1, belongs to."""
        inside = None
        for function in self.functions():  # an inner one starts later
            if self.line_of(function.start) <= line <= self.line_of(function.end - 1):
                inside = function
        return inside

    def line_of(self, offset: int) -> int:
        """The line, counted from 1, of a character."""
        return bisect_right(self.line_starts, offset)

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of every line."""
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def character(self, byte: int) -> int:
        """The character that begins at a byte of the text in UTF-8."""
        return byte if self.bytes_before is None else bisect_left(self.bytes_before, byte)

    @cached_property
    def bytes_before(self) -> list[int] | None:
        """Bytes of UTF-8 in front of each character and of the end; None where text is ASCII."""
        if self.text.isascii():
            return None
        sizes = (1 + (c > "\x7f") + (c > "\u07ff") + (c > "\uffff") for c in self.text)
        return list(accumulate(sizes, initial=0))

    def without_comments(self, docstrings: bool = False) -> str:
        """The text without comments; lines that held nothing else go with them.

        Args:
            docstrings: take the docstrings out as well.
        """
        text = self.text
        edits = [((start, end), "") for kind, start, end in self.tokens if kind == "comment"]
        if docstrings and self.parsed:
            edits += self._docstrings()
        pieces, done = [], 0
        for (start, end), new in self._joined(sorted(edits)):
            begin = max(done - 1, 0)
            line = max(text.rfind("\n", begin, start), text.rfind("\r", begin, start)) + 1
            line_end = _LINE_END.search(text, end)
            after, following = line_end.span() if line_end else (len(text), len(text))
            if not new and not text[end:after].strip():
                if (line or done == 0) and not text[line:start].strip():  # the whole line goes
                    start, end = line, following
                else:
                    start, end = done + len(text[done:start].rstrip(" \t")), after
            elif not new and not text[start - 1 : start].isspace():
                new = " "  # a comment parts two words
            pieces += [text[done:start], new]
            done = end
        return "".join(pieces) + text[done:]

    def _joined(self, edits: list[tuple[Span, str]]) -> list[tuple[Span, str]]:
        """Edits, of which those that only blanks of a line part are one."""
        joined: list[tuple[Span, str]] = []
        for (start, end), new in edits:
            if joined and not self.text[joined[-1][0][1] : start].strip(" \t"):
                (start, _), before = joined.pop()
                new = before or new
            joined.append(((start, end), new))
        return joined
