"""Bugs made on purpose: lines of code changed as people get them wrong.

Five kinds: another operator, another constant, another name of the same function, an index or bound
off by one, and a guard (`if ...: return ...`) that is missing. Where the code can be parsed, so can
what becomes of it. Nothing else about it is checked: a mutation may leave the meaning as it was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from pretrial.code_views import Token, View, view

Kind = Literal["operator", "constant", "identifier", "off_by_one", "guard"]
KINDS: tuple[Kind, ...] = ("operator", "constant", "identifier", "off_by_one", "guard")

_OPERATORS = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "===": ("!==",),
    "!==": ("===",),
    "+": ("-",),
    "-": ("+",),
    "*": ("+",),
    "/": ("//", "*"),
    "//": ("/",),
    "%": ("//",),
    "+=": ("-=",),
    "-=": ("+=",),
    "&&": ("||",),
    "||": ("&&",),
    "&": ("|", "^"),
    "|": ("&",),
    "and": ("or",),
    "or": ("and",),
    "not": ("",),
    "!": ("",),
    "in": ("not in",),
}
_ONLY_PYTHON = {"//", "not in"}
_PREFIXES = {"not", "!"}
_WORDS = {"True": "False", "False": "True", "true": "false", "false": "true"}
_LEAVES = re.compile(r"\s*(return|raise|throw|continue|break)\b")
_IF = re.compile(r"\s*if\b.*:\s*(#.*)?$")
_IF_LEAVES = re.compile(r"\s*if\b.*\b(return|raise|throw|continue|break)\b.*$")
_ELSE = re.compile(r"\s*(\}\s*)?(else|elif)\b")
_HEADS = re.compile(r"\s*(@|(async\s+)?def\b|class\b|function\b|func\b|import\b|from\b)")
_TRIES = 8  # before code is given up whose mutations do not parse


class Edit(NamedTuple):
    """A change within one line, or the removal of whole lines; offsets in characters."""

    kind: Kind
    start: int
    end: int
    new: str


class Change(NamedTuple):
    """Lines of the mutated code and what stood there before.

    Attributes:
        kind: of the mutation.
        start: the first line, counted from 1; where no line is `wrong`, the one to insert before.
        wrong: lines of the mutated code.
        right: lines of the original code.
    """

    kind: Kind
    start: int
    wrong: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True)
class Mutation:
    """Mutated code.

    Attributes:
        code: its text.
        changes: where it differs from the original, from top to bottom.
    """

    code: str
    changes: tuple[Change, ...]


def mutate(
    original: View,
    rng: random.Random,
    *,
    num_changes: int = 1,
    kinds: Sequence[Kind] = KINDS,
) -> Mutation | None:
    """Code with bugs in `num_changes` places, at least one sound line between any two.

    The kind of a bug is drawn first, evenly among those that the code has a place for, then the
    place.

    Args:
        original: the code.
        rng: source of all randomness.
        num_changes: bugs.
        kinds: those that may be drawn.

    Returns:
        None where the code has no place for so many bugs.
    """
    places: dict[Kind, list[Edit]] = {}
    for edit in edits(original, rng):
        if edit.kind in kinds:
            places.setdefault(edit.kind, []).append(edit)
    for _ in range(_TRIES):
        chosen = _choose(original, places, rng, num_changes)
        if chosen is None:
            return None
        mutation = _apply(original, chosen)
        if mutation is not None:
            return mutation
    return None


def edits(code: View, rng: random.Random) -> Iterator[Edit]:
    """All places of one bug each, in the order of their kinds; the text may not parse after them.

    Where a name is changed, `rng` draws the other one.
    """
    tokens = [token for token in code.tokens if token.kind != "comment"]
    yield from _operators(code, tokens)
    yield from _constants(code, tokens)
    yield from _identifiers(code, tokens, rng)
    yield from _off_by_one(code, tokens)
    yield from _guards(code)


def _operators(code: View, tokens: Sequence[Token]) -> Iterator[Edit]:
    text = code.text
    for before, token in pairwise(tokens):
        word = text[token.start : token.end]
        for new in _OPERATORS.get(word, ()) if token.kind in ("operator", "keyword") else ():
            if word in _PREFIXES:
                end = token.end + (text[token.end : token.end + 1] == " ")
                if text[before.start : before.end] != "is":
                    yield Edit("operator", token.start, end, new)
            elif _is_operand(text, before) and _fits(code, word, new, before, token):
                yield Edit("operator", token.start, token.end, new)


def _fits(code: View, word: str, new: str, before: Token, token: Token) -> bool:
    """Whether an operator can be changed so here, as far as that can be told from its line."""
    if new in _ONLY_PYTHON and code.language != "python":
        return False
    if word == "%" and before.kind == "string":  # formats it
        return False
    return word != "in" or not _line_of(code.text, token.start).lstrip().startswith("for")


def _constants(code: View, tokens: Sequence[Token]) -> Iterator[Edit]:
    text = code.text
    for kind, start, end in tokens:
        word = text[start:end]
        if kind == "number" and word.isdecimal() and len(word) <= 9:
            for value in {int(word) + 1, abs(int(word) - 1)} - {int(word)}:
                yield Edit("constant", start, end, str(value))
        elif word in _WORDS and kind in ("keyword", "identifier"):
            yield Edit("constant", start, end, _WORDS[word])


def _identifiers(code: View, tokens: Sequence[Token], rng: random.Random) -> Iterator[Edit]:
    """A name, where its value is used, becomes another name of the same code."""
    text = code.text
    used = []
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        marks = text[before.start : before.end], text[after.start : after.end]
        names_member = marks[0] in (".", "->", "?.", "::")
        if token.kind != "identifier" or names_member or marks[1] in ("=", ":=", ":"):
            continue
        if not _HEADS.match(_line_of(text, token.start)):
            used.append(token)
    names = list(dict.fromkeys(text[start:end] for _, start, end in used))
    own = {name: place for place, name in enumerate(names)}
    for _, start, end in used if len(names) > 1 else ():
        place = rng.randrange(len(names) - 1)  # among the others
        place += place >= own[text[start:end]]
        yield Edit("identifier", start, end, names[place])


def _off_by_one(code: View, tokens: Sequence[Token]) -> Iterator[Edit]:
    text = code.text
    for (first, second), third in zip(pairwise(tokens), tokens[2:], strict=False):
        words = [text[token.start : token.end] for token in (first, second, third)]
        if words[1] in ("+", "-") and words[2] == "1" and _is_operand(text, first):
            yield Edit("off_by_one", first.end, third.end, "")
        indexes = words[0] == "[" and words[2] == "]" and second.kind == "identifier"
        if indexes and not _HEADS.match(_line_of(text, first.start)):
            for step in (" + 1", " - 1"):
                yield Edit("off_by_one", second.end, second.end, step)
    for start, end in _ranges(text, tokens):
        inside = text[start:end].strip()
        if inside and "\n" not in inside:
            for step in (" + 1", " - 1"):
                yield Edit("off_by_one", end, end, step)


def _ranges(text: str, tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """What stands between the brackets of each `range(...)`."""
    for place, token in enumerate(tokens):
        if text[token.start : token.end] != "range" or place + 1 == len(tokens):
            continue
        depth = 0
        for inner in tokens[place + 1 :]:
            depth += {"(": 1, ")": -1}.get(text[inner.start : inner.end], 0)
            if depth == 0:
                yield tokens[place + 1].end, inner.start
                break


def _guards(code: View) -> Iterator[Edit]:
    """An `if` without `else` whose only statement leaves the block, with that statement."""
    lines = code.text.splitlines(keepends=True)
    inside = {
        number
        for kind, start, end in code.tokens
        if kind in ("string", "comment")
        for number in range(code.line_of(start) + 1, code.line_of(end - 1) + 1)
    }
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for place, line in enumerate(lines):
        if place + 1 in inside or place == 0:
            continue
        size = 0
        following = lines[place + 1] if place + 1 < len(lines) else ""
        if _IF.match(line) and _LEAVES.match(following) and _indent(following) > _indent(line):
            size = 2
        elif _IF_LEAVES.match(line):
            size = 1
        after = lines[place + size] if place + size < len(lines) else ""
        if size and not _ELSE.match(after) and _indent(after) <= _indent(line):
            yield Edit("guard", starts[place], starts[place + size], "")


def _choose(
    code: View, places: dict[Kind, list[Edit]], rng: random.Random, number: int
) -> list[Edit] | None:
    chosen: list[Edit] = []
    left = {kind: list(found) for kind, found in places.items()}
    while len(chosen) < number and left:
        kind = rng.choice(sorted(left))
        edit = left[kind].pop(rng.randrange(len(left[kind])))
        if not left[kind]:
            del left[kind]
        if all(_apart(code, edit, other) for other in chosen):
            chosen.append(edit)
    return sorted(chosen, key=lambda edit: edit.start) if len(chosen) == number else None


def _apart(code: View, one: Edit, other: Edit) -> bool:
    first, second = sorted((one, other), key=lambda edit: edit.start)
    return code.line_of(second.start) - code.line_of(max(first.start, first.end - 1)) > 1


def _apply(code: View, chosen: Sequence[Edit]) -> Mutation | None:
    """The mutated code; None where it does not parse although the original did."""
    text, changes, shift = code.text, [], 0
    for edit in chosen:
        first = code.line_of(edit.start)
        last = first if edit.kind != "guard" else code.line_of(edit.end - 1)
        start, end = _span(text, code, first, last)
        new = text[start : edit.start] + edit.new + text[edit.end : end]
        wrong = tuple(new.splitlines())
        right = tuple(text[start:end].splitlines())
        changes.append(Change(edit.kind, first + shift, wrong, right))
        shift += len(wrong) - len(right)
    for edit in reversed(chosen):
        text = text[: edit.start] + edit.new + text[edit.end :]
    if code.parsed and not view(text, code.language).parsed:
        return None
    return Mutation(text, tuple(changes))


def _span(text: str, code: View, first: int, last: int) -> tuple[int, int]:
    """Offsets of whole lines, counted from 1."""
    starts = code.line_starts
    return starts[first - 1], starts[last] if last < len(starts) else len(text)


def _is_operand(text: str, token: Token) -> bool:
    """Whether something that has a value ends here, so that an operator after it has two sides."""
    if token.kind in ("identifier", "number", "string"):
        return True
    return text[token.start : token.end] in (")", "]", "}", "None", "True", "False", "self", "this")


def _line_of(text: str, place: int) -> str:
    end = text.find("\n", place)
    return text[text.rfind("\n", 0, place) + 1 : len(text) if end < 0 else end]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 0
