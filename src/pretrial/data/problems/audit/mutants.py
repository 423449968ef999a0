"""References with a small bug each, which the tests should find."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass

from pretrial.code_views import PythonView, view
from pretrial.corrupt.mutations import edits

_DROPPED = (
    *(ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.Delete),
    *(ast.Raise, ast.Continue, ast.Break),
)


@dataclass(frozen=True)
class Mutant:
    """A program with one bug.

    Attributes:
        kind: of the bug.
        program: with it.
        line: where it is, counted from 1.
        before, after: that line.
    """

    kind: str
    program: str
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        change = f"`{self.before}` -> `{self.after}`" if self.after else f"without `{self.before}`"
        return f"line {self.line}: {change}"


def mutants(program: str, count: int, rng: random.Random, start: int = 0) -> list[Mutant]:
    """Up to `count` mutants of a program, of all kinds alike.

    Operators, comparisons, constants, names, indexes and bounds off by one, guards and statements
    left out. Each parses, and its syntax tree is another one; it may do the same all the same.

    Args:
        program: Python.
        count: at most.
        rng: draws which.
        start: offset from which on the program may be changed.
    """
    try:
        original = ast.dump(ast.parse(program))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    code = view(program)
    assert isinstance(code, PythonView)
    places: dict[str, list[tuple[int, int, str]]] = {}
    for kind, begin, end, new in _changes(code, rng):
        if begin >= start:
            places.setdefault(kind, []).append((begin, end, new))
    for found in places.values():
        rng.shuffle(found)
    made: dict[str, Mutant] = {}
    while places and len(made) < count:
        for kind in sorted(places):
            begin, end, new = places[kind].pop()
            if not places[kind]:
                del places[kind]
            text = program[:begin] + new + program[end:]
            if len(made) < count and text not in made and _is_other(text, original):
                made[text] = _mutant(code, kind, text, begin)
    return list(made.values())


def _changes(code: PythonView, rng: random.Random) -> Iterator[tuple[str, int, int, str]]:
    yield from edits(code, rng)
    for node in code.nodes:
        documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, _DROPPED) and not documents:
            begin, end = code.span(node)
            yield "statement", begin, end, "pass"


def _is_other(text: str, original: str) -> bool:
    try:
        return ast.dump(ast.parse(text)) != original
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _mutant(code: PythonView, kind: str, text: str, begin: int) -> Mutant:
    line = code.line_of(begin)
    before, after = (whole.split("\n")[line - 1].strip() for whole in (code.text, text))
    gone = kind in ("guard", "statement")
    return Mutant(kind, text, line, before, "" if gone else after)
