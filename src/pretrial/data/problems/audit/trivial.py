"""Programs that know nothing of their problem, and so must fail: empty ones, constant ones."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pretrial.data.problems.problem import Problem
from pretrial.sandbox.literals import parse_python
from pretrial.sandbox.tests import Tests

_CONSTANTS: tuple[Any, ...] = (None, True, False, 0, 1, -1, "", [], {})
_PRINTED = ("0", "1", "-1", "YES", "NO", "Yes", "No")
_EXPECTED = 3  # of the expected values, the most frequent first


def trivial_programs(problem: Problem) -> Iterator[tuple[str, str]]:
    """(what it does, program) of each trivial program for a problem."""
    yield "does nothing", problem.program("    pass\n" if problem.style == "completion" else "")
    yield "leaves at once", "raise SystemExit\n"
    if problem.tests.kind == "stdin":
        yield "prints its input", "import sys\nprint(sys.stdin.read())\n"
        for text in _distinct([*_most_frequent(list(problem.tests.outputs)), *_PRINTED]):
            yield f"always prints {text.strip()!r:.60}", f"print({text!r})\n"
        return
    names = _functions(problem.tests)
    head = f"{problem.question}    pass\n\n" if problem.style == "completion" else ""
    yield "returns its first argument", head + _defined(names, "args[0]")
    for value in _distinct([*_CONSTANTS, *_most_frequent(_expected(problem.tests))]):
        yield f"always returns {value!r:.60}", head + _defined(names, repr(value))


def _defined(names: list[str], result: str) -> str:
    lines = []
    for name in names:
        lines += [f"def {name}(*args, **options):", f"    return {result}", ""]
    lines += ["class Solution:", "    pass", ""]
    lines += [f"Solution.{name} = lambda self, *args, **options: {result}" for name in names]
    return "\n".join(lines) + "\n"


def _expected(tests: Tests) -> list[Any]:
    if tests.parts is None:
        return list(tests.outputs)
    return [says.value for says in tests.parts.says if says.relation in ("==", "is", "is true")]


def _most_frequent(values: list[Any]) -> list[Any]:
    by_text = {repr(value): value for value in values}
    counted = Counter(map(repr, values))
    return [by_text[text] for text, _ in counted.most_common(_EXPECTED)]


def _distinct(values: list[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _functions(tests: Tests) -> list[str]:
    """The functions that the tests call: the one that is named, or those of an assert script."""
    if tests.function:
        return [tests.function]
    try:
        tree = parse_python(tests.script)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return sorted(name for name in names if not hasattr(builtins, name) and name[:1].islower())
