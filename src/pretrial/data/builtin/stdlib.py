"""Python's own standard library as a corpus of code and of English: on every machine, no download.

It is whatever the running interpreter brought, so figures hold for one version of Python; its tests
are left out.
"""

from __future__ import annotations

import ast
import functools
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrial.data.builtin.disk_cache import cached

_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}

#: A docstring of fewer words says nothing.
MIN_WORDS = 3

Row = dict[str, Any]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def stdlib_code() -> list[Row]:
    """All functions and methods, nested ones too; of those with equal code the first.

    Each row holds `code` (from the first decorator to the last line, indentation removed),
    `docstring` ("" where there is none), `name` (with its classes, such as "JSONDecoder.decode"),
    `module`, `package` (the top-level name) and `path` (in the library's folder).
    """
    return [row.copy() for row in _corpus()[0]]


def stdlib_docstrings() -> list[Row]:
    """Docstrings of three words or more; of equal ones the first.

    Each row holds `text`, `label` (the top-level package), `kind` ("module", "class" or
    "function"), `name` and `module`.
    """
    return [row.copy() for row in _corpus()[1]]


@functools.cache
def _corpus() -> list[list[Row]]:
    """Functions and docstrings, parsed once for each state of the library."""
    found = [(str(path), path.stat()) for path in _paths()]
    state = [(path, about.st_size, about.st_mtime_ns) for path, about in found]
    parts = [sys.version, state, Path(__file__).read_text(encoding="utf-8")]
    return cached("stdlib", parts, _parsed)


def _parsed() -> list[list[Row]]:
    """Functions and docstrings; repeats are dropped lest they stand on both sides of a split."""
    functions: dict[str, Row] = {}
    docstrings: dict[str, Row] = {}
    for path, module, lines, tree in _modules():
        package = module.split(".")[0]
        named: list[tuple[str, ast.Module | ast.ClassDef | _Function]] = [("", tree)]
        for name, node in [*named, *_definitions(tree)]:
            where = {"name": name, "module": module}
            docstring = ast.get_docstring(node) or ""
            if isinstance(node, _Function):
                code = _source(lines, node)
                texts = {"code": code, "docstring": docstring}
                functions.setdefault(code, texts | where | {"package": package, "path": path})
            if len(docstring.split()) >= MIN_WORDS:
                kind = type(node).__name__.removeprefix("Async").removesuffix("Def").lower()
                text = {"text": docstring, "label": package, "kind": kind}
                docstrings.setdefault(docstring, text | where)
    return [list(functions.values()), list(docstrings.values())]


def _root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _paths() -> list[Path]:
    """The library's files but its tests."""
    root, found = _root(), []
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root)
        if not _LEFT_OUT.intersection(inner.parts) and not inner.parts[0].startswith("config-"):
            found.append(path)
    return found


def _modules() -> Iterator[tuple[str, str, list[str], ast.Module]]:
    """Path, dotted name, lines and syntax tree of every module, in the order of the paths."""
    for path in _paths():
        inner = path.relative_to(_root())
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
