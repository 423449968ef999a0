"""QuixBugs: forty small programs with one bug each, in the layout of its repository.

The Python programs are read: `python_programs` holds the wrong ones, `correct_python_programs` the
right ones, and `python_testcases` their tests for pytest, whose cases lie in `json_testcases`.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from pathlib import Path

from pretrial.code_views import view
from pretrial.data.rows import Row
from pretrial.errors import UserError

WRONG, RIGHT, TESTS = "python_programs", "correct_python_programs", "python_testcases"


def is_quixbugs(root: Path) -> bool:
    """Whether a folder has this layout."""
    return all((root / name).is_dir() for name in (WRONG, RIGHT, TESTS))


def quixbugs_rows(root: Path) -> Iterator[Row]:
    """A row for each program that has tests.

    It holds `name`, `tree` (the folder), `hunks` (the lines that the right program has otherwise,
    such as "python_programs/gcd.py:5"), `command`, `language`, and `fixed` (path in the tree to the
    right text).
    """
    for path in sorted((root / WRONG).glob("*.py")):
        right, tests = root / RIGHT / path.name, root / TESTS / f"test_{path.name}"
        if not (right.is_file() and tests.is_file()):
            continue
        inside = f"{WRONG}/{path.name}"
        try:
            texts = [each.read_text(encoding="utf-8") for each in (path, right)]
            hunks = changed_lines(*texts)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise UserError(
                f"{path} or {right} is no Python that can be read ({error}): mend it, or take both"
                " away"
            ) from error
        if hunks:
            yield {
                "name": path.stem,
                "tree": str(root),
                "hunks": [f"{inside}:{lines}" for lines in hunks],
                "command": f"python -m pytest -q -p no:cacheprovider {TESTS}/{tests.name}",
                "language": "python",
                "fixed": {inside: texts[1]},
            }


def changed_lines(wrong: str, right: str) -> list[str]:
    """Where two texts of Python differ beside comments, blank lines and blanks at line ends.

    Returns:
        Lines of the wrong one: "7", "7-9", or "+7" where something is missing before line 7.
    """
    numbered = [_code_lines(text) for text in (wrong, right)]
    before, after = ([line for _, line in rows] for rows in numbered)
    numbers = [number for number, _ in numbered[0]]
    found = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, _, _ in matcher.get_opcodes():
        if kind == "insert":
            found.append(f"+{numbers[start - 1] + 1 if start else 1}")
        elif kind != "equal":
            first, last = numbers[start], numbers[end - 1]
            found.append(f"{first}-{last}" if last > first else str(first))
    return found


def _code_lines(text: str) -> list[tuple[int, str]]:
    """Numbers and texts of the lines that hold code; a string that is a statement is none."""
    lines = list(text)
    for kind, start, end in view(text).tokens:
        if kind == "comment":
            lines[start:end] = " " * (end - start)
    strings = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    numbered = enumerate("".join(lines).split("\n"), 1)
    return [(n, line.rstrip()) for n, line in numbered if line.strip() and n not in strings]
