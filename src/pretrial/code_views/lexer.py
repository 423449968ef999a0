"""Tokens of Python by one regular expression: much faster than `tokenize`, and for any text."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Literal

from pretrial.code_views.view import Kind, Token

# An open string ends with its line, or with the text where its quotes are triple: every character
# is then read once, whatever the text.
_STRING = r"""(?:[bBuU]|[bB][rR]|[rR][bBfF]?|[fF][rR]?)?(?:
    \"""(?:[^"\\]|\\.|"(?!""))*+(?:\"""|\\?\Z)
    |'''(?:[^'\\]|\\.|'(?!''))*+(?:'''|\\?\Z)
    |"(?:[^"\\\r\n]|\\(?:\r\n|.))*+(?:"|\\?)
    |'(?:[^'\\\r\n]|\\(?:\r\n|.))*+(?:'|\\?))"""
_TOKEN = re.compile(
    rf"""(?:\s|\\\r?\n)*+(?:
    ([^\W\d]\w*+)(?!['"])
    |([-+*/%&|^=!<>@]=|\*\*=?|//=?|>>=?|<<=?|->|:=|\.\.\.|[-+*%&|/^=<>@()\[\]{{}},:;~]|\.(?!\d))
    |({_STRING})
    |(\#[^\r\n]*+)
    |(0[xXoObB][\da-fA-F_]++|(?:\d[\d_]*+(?:\.[\d_]*+)?|\.\d[\d_]*+)(?:[eE][-+]?\d[\d_]*+)?[jJ]?)
    |([^\W\d]\w*+)
    |(\S)
    |\Z)""",
    re.DOTALL | re.VERBOSE,
)
_NAME_GROUP, _STRING_GROUP = 1, 3
_KIND_OF_GROUP: list[Kind] = [
    "operator", "identifier", "operator", "string", "comment", "number", "identifier", "operator",
]  # fmt: skip
_KIND_OF_WORD: dict[str, Kind] = dict.fromkeys(keyword.kwlist, "keyword")
_SOFT_WORDS = {"match", "case", "type"}
_SOFT = re.compile(
    r"match\b(?!\s*[=.,)\]:])[^\r\n]*:[ \t]*(?:\#[^\r\n]*)?(?=[\r\n]|\Z)"
    r"|case\b(?!\s*[=.,)\]:])[^\r\n]*:"
    r"|type\s+\w+\s*[=\[]"
)
_FORMATTED = re.compile(r"[rR]?[fF]")
_QUOTES = re.compile(r"""\w*(\"""|'''|"|')""")
_CONVERSION = re.compile(r"!\w*")
_NAMED_CHARACTER = re.compile(r"\\N\{[^}\"'\n]*\}")
_PLAIN = re.compile(r"[^\\{}\"'\r\n]+")


def lex(text: str) -> list[Token]:
    """The tokens of Python source, comments too.

    Formatted strings come in pieces: their text as strings, the braces as operators, and between
    these the tokens of the expressions. What is no token of Python comes out as an operator.
    """
    tokens: list[Token] = []
    append, new, kind_of = tokens.append, tuple.__new__, _KIND_OF_WORD.get
    place = 0
    while True:
        for match in _TOKEN.finditer(text, place):
            group = match.lastindex
            if group is None:
                return tokens
            start, end = match.span(group)
            if group == _NAME_GROUP:
                word = match[1]
                kind = kind_of(word, "identifier")
                if word in _SOFT_WORDS:
                    kind = _soft_kind(text, start)
                append(new(Token, (kind, start, end)))
            elif group == _STRING_GROUP and _is_formatted(text, start):
                place = _FormattedString(text, start, tokens).read()
                break
            else:
                append(new(Token, (_kind(match, group), start, end)))


def _kind(match: re.Match[str], group: int) -> Kind:
    """The kind of any token but a soft keyword."""
    kind = _KIND_OF_GROUP[group]
    return _KIND_OF_WORD.get(match[group], kind) if kind == "identifier" else kind


def _soft_kind(text: str, start: int) -> Kind:
    """`match`, `case` and `type` are keywords where they begin a statement of theirs."""
    blank = text.rfind("\n", 0, start) + 1
    begins = not text[blank:start].strip()
    return "keyword" if begins and _SOFT.match(text, start) else "identifier"


@dataclass
class _Part:
    """What is open in a formatted string: a string, a replacement field, or a field's format."""

    kind: Literal["string", "field", "format"]
    quote: str = ""
    raw: bool = False
    depth: int = 0


class _FormattedString:
    """Reads one formatted string, with those that its fields hold.

    Quotes may nest as they do since Python 3.12.
    """

    def __init__(self, text: str, start: int, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.open: list[_Part] = []
        self.begin = start
        self.place = start
        self.enter(start)

    def read(self) -> int:
        """Adds its tokens; returns where it ends."""
        while self.open:
            if self.open[-1].kind == "field":
                self.field_token()
            else:
                self.literal(self.open[-1])
        return self.place

    def enter(self, start: int) -> None:
        """Opens the string whose prefix is at `start`."""
        match = _QUOTES.match(self.text, start)
        assert match is not None
        prefix = self.text[start : match.start(1)].lower()
        self.open.append(_Part("string", match[1], "r" in prefix))
        self.begin, self.place = start, match.end()

    def add(self, kind: Kind, start: int, end: int) -> None:
        """Adds a token unless it is empty, and goes on behind it."""
        if start < end:
            self.tokens.append(Token(kind, start, end))
        self.begin = self.place = end

    def leave_string(self, end: int) -> None:
        """Closes the innermost string, and what is open inside."""
        self.add("string", self.begin, end)
        while self.open.pop().kind != "string":
            pass

    def literal(self, part: _Part) -> None:
        """Reads up to the next field, or to the end of the string or format."""
        text, place = self.text, self.place
        while True:
            plain = _PLAIN.match(text, place)
            place = plain.end() if plain else place
            sign = text[place : place + 1]
            if not sign or (sign in "\r\n" and len(part.quote) == 1):
                return self.leave_string(min(place, len(text)))
            if sign == "\\":
                place = self.behind_backslash(place, part.raw)
            elif text.startswith(part.quote, place):
                return self.leave_string(place + len(part.quote))
            elif sign == "{" and (part.kind == "format" or text[place + 1 : place + 2] != "{"):
                self.add("string", self.begin, place)
                self.open.append(_Part("field"))
                return self.add("operator", place, place + 1)
            elif sign == "}" and part.kind == "format":
                self.add("string", self.begin, place)
                del self.open[-2:]
                return self.add("operator", place, place + 1)
            else:
                place += 2 if sign == "{" else 1

    def behind_backslash(self, place: int, raw: bool) -> int:
        """Where the text goes on behind a backslash and what it escapes."""
        named = None if raw else _NAMED_CHARACTER.match(self.text, place)
        if named:
            return named.end()
        if self.text.startswith("\r\n", place + 1):
            return place + 3
        return place + (1 if self.text[place + 1 : place + 2] in ("{", "}") else 2)

    def field_token(self) -> None:
        """Reads one token of a replacement field."""
        part = self.open[-1]
        match = _TOKEN.match(self.text, self.place)
        group = match.lastindex if match else None
        if match is None or group is None:
            self.open.clear()
            self.place = len(self.text)
            return
        start, end = match.span(group)
        sign = self.text[start]
        if sign == "}" and part.depth == 0:
            self.open.pop()
            self.add("operator", start, start + 1)
        elif sign == ":" and part.depth == 0:
            string = next(outer for outer in reversed(self.open) if outer.kind == "string")
            self.open.append(_Part("format", string.quote, string.raw))
            self.add("operator", start, start + 1)
        elif sign == "!" and end == start + 1:
            conversion = _CONVERSION.match(self.text, start)
            self.add("operator", start, conversion.end() if conversion else end)
        elif group == _STRING_GROUP and _is_formatted(self.text, start):
            self.enter(start)
        else:
            part.depth += (sign in "([{") - (sign in ")]}")
            self.add(_kind(match, group), start, end)


def _is_formatted(text: str, start: int) -> bool:
    """Whether the prefix of a string makes it a formatted one."""
    return text[start] in "fF" or (
        text[start] in "rR" and text[start + 1 : start + 2] in ("f", "F")
    )
