"""Python's own standard library as a corpus of code and of English: on every machine, no download.

It is whatever the running interpreter brought, so figures hold for one version of Python; its tests
are left out.
"""

from __future__ import annotations

import ast
import functools
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
_MIN_WORDS = 3

Row = dict[str, Any]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def stdlib_code() -> list[Row]:
    """All functions and methods, nested ones too.

    Each row holds `code` (from the first decorator to the last line, indentation removed),
    `docstring` ("" where there is none), `name` (with its classes, such as "JSONDecoder.decode"),
    `module`, `package` (the top-level name) and `path` (in the library's folder).
    """
    return [row | {} for row in _functions()]


def stdlib_docstrings() -> list[Row]:
    """Docstrings of three words or more.

    Each row holds `text`, `label` (the top-level package), `kind` ("module", "class" or
    "function"), `name` and `module`.
    """
    return [row | {} for row in _docstrings()]


@functools.cache
def _functions() -> tuple[Row, ...]:
    rows = []
    for path, module, lines, tree in _modules():
        for name, node in _definitions(tree):
            if isinstance(node, ast.ClassDef):
                continue
            rows.append(
                {
                    "code": _source(lines, node),
                    "docstring": ast.get_docstring(node) or "",
                    "name": name,
                    "module": module,
                    "package": module.split(".")[0],
                    "path": path,
                }
            )
    return tuple(rows)


@functools.cache
def _docstrings() -> tuple[Row, ...]:
    rows = []
    for _, module, _, tree in _modules():
        named: list[tuple[str, ast.Module | ast.ClassDef | _Function]] = [("", tree)]
        for name, node in named + list(_definitions(tree)):
            text = ast.get_docstring(node) or ""
            if len(text.split()) < _MIN_WORDS:
                continue
            kind = type(node).__name__.removeprefix("Async").removesuffix("Def").lower()
            label = module.split(".")[0]
            rows.append(
                {"text": text, "label": label, "kind": kind, "name": name, "module": module}
            )
    return tuple(rows)


def _modules() -> Iterator[tuple[str, str, list[str], ast.Module]]:
    """Path, dotted name, lines and syntax tree of every module, in the order of the paths."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root)
        if _LEFT_OUT.intersection(inner.parts) or inner.parts[0].startswith("config-"):
            continue
        try:
            with tokenize.open(path) as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old escapes in strings are not our business
                text = file.read()
                tree = ast.parse(text)
        except (SyntaxError, UnicodeDecodeError):  # templates and samples that are not Python 3
            continue
        names = [part for part in inner.with_suffix("").parts if part != "__init__"]
        yield inner.as_posix(), ".".join(names), text.splitlines(), tree


def _definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | _Function]]:
    """Classes and functions below a node with their qualified names, in the order of the source."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | _Function):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.")
        else:
            yield from _definitions(child, prefix)


def _source(lines: list[str], node: _Function) -> str:
    """Text of a function without its indentation; lines of strings that stand further left stay."""
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    margin = lines[node.lineno - 1][: node.col_offset]
    if margin.strip():  # something else stands before it on the line
        margin = ""
    return "\n".join(line.removeprefix(margin) for line in lines[start - 1 : node.end_lineno])
