"""The code of an architecture that transformers lacks, as one file beside an exported model.

`AutoModel.from_pretrained(folder, trust_remote_code=True)` runs it where pretrial is not installed.
The file holds what the classes need and nothing else: the classes, functions and values of our own
modules that they refer to, as they stand there, and the imports of other packages.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_OURS = "pretrial."
# Auto classes that an architecture of ours may be registered with.
_AUTO = (
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification",
    "AutoModelForImageTextToText",
)
_HEAD = '''"""{name}, a model of transformers, as pretrial has trained it.

It is put together from the source of pretrial (Apache-2.0):
{modules}
"""

from __future__ import annotations

'''


def is_ours(kind: type) -> bool:
    """Whether a class is not one of transformers."""
    return kind.__module__.startswith(_OURS)


def write_remote_code(model: Any, folder: Path) -> str:
    """Writes the code of a model's classes, and into config.json where they are.

    Args:
        model: of a class that is ours; its config.json is in the folder.
        folder: of the export.

    Returns:
        The name of the Auto class that loads it.
    """
    name = f"modeling_{model.config.model_type}"
    classes = _auto_classes(model)
    kinds = [type(model.config), *classes.values()]
    (folder / f"{name}.py").write_text(source_of(*kinds), encoding="utf-8")
    auto = {"AutoConfig": type(model.config), **classes}
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["auto_map"] = {key: f"{name}.{kind.__name__}" for key, kind in auto.items()}
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return next(key for key, kind in classes.items() if kind is type(model))


def _auto_classes(model: Any) -> dict[str, type]:
    """The classes of the model's architecture by the Auto class that gives them."""
    import transformers

    found: dict[str, type] = {}
    for name in _AUTO:
        known = getattr(transformers, name)._model_mapping
        if type(model.config) in known:
            found[name] = known[type(model.config)]
    if type(model) not in found.values():
        found["AutoModel"] = type(model)
    return found


def source_of(*kinds: type) -> str:
    """The text of one module that defines these classes, with all of ours that they need."""
    parts = _Parts()
    for kind in kinds:
        parts.add(kind.__module__, kind.__name__)
    return parts.text(kinds[-1].__name__)


class _Parts:
    """Definitions of several modules, and the imports that they need."""

    def __init__(self) -> None:
        self.modules: dict[str, _Module] = {}
        self.taken: dict[str, list[str]] = {}  # names by module, those that others need first
        self.imports: set[tuple[str, str]] = set()

    def add(self, place: str, name: str) -> None:
        """Takes a definition of a module, and before it what it refers to."""
        module = self.modules.setdefault(place, _Module(place))
        if name in self.taken.setdefault(place, []):
            return
        if name in module.ours:
            self.add(*module.ours[name])
        elif name in module.others:
            self.imports.add(module.others[name])
        elif name in module.own:
            self.taken[place].append(name)
            for other in module.needs(name):
                self.add(place, other)

    def text(self, name: str) -> str:
        """All of it as one module."""
        used = [place for place, names in self.taken.items() if names]
        lines = [_HEAD.format(name=name, modules="\n".join(used)), *self._import_lines()]
        known: dict[str, str] = {}
        for place in _ordered(used, self.modules):
            module = self.modules[place]
            for own in self.taken[place]:
                other = known.setdefault(own, place)
                assert other == place, f"{other} and {place} both define {own}: rename one"
            lines.append(f"\n\n# -- {place}")
            lines += [f"\n\n{text}" for text in module.texts(self.taken[place])]
        return "\n".join(lines) + "\n"

    def _import_lines(self) -> Iterator[str]:
        names: dict[str, list[str]] = {}
        for module, name in sorted(self.imports):
            names.setdefault(module, []).append(name)
        yield from (f"import {name}" for name in names.pop("", []))
        yield from (f"from {module} import {', '.join(own)}" for module, own in names.items())


def _ordered(places: list[str], modules: dict[str, _Module]) -> Iterator[str]:
    """Modules after those that they import."""
    left = dict.fromkeys(places)

    def visit(place: str) -> Iterator[str]:
        if place in left:
            del left[place]
            for other, _ in modules[place].ours.values():
                yield from visit(other)
            yield place

    for place in places:
        yield from visit(place)


class _Module:
    """One of our modules: what its top level defines and imports, by name."""

    def __init__(self, place: str) -> None:
        self.source = inspect.getsource(importlib.import_module(place))
        self.own: dict[str, ast.stmt] = {}
        self.ours: dict[str, tuple[str, str]] = {}
        self.others: dict[str, tuple[str, str]] = {}  # ("", "math") is `import math`
        self.body = list(_statements(ast.parse(self.source).body))
        for statement in self.body:
            self._read(statement)

    def _read(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
            for alias in statement.names:
                own = alias.asname or alias.name
                if str(statement.module).startswith(_OURS):
                    assert alias.asname is None, f"{own} has another name where it is defined"
                    self.ours[own] = (str(statement.module), alias.name)
                else:
                    words = alias.name + (f" as {own}" if alias.asname else "")
                    self.others[own] = (str(statement.module), words)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                words = alias.name + (f" as {alias.asname}" if alias.asname else "")
                self.others[alias.asname or alias.name.partition(".")[0]] = ("", words)
        elif isinstance(statement, ast.ClassDef | ast.FunctionDef):
            self.own[statement.name] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    self.own[target.id] = statement

    def needs(self, name: str) -> list[str]:
        """Names of the top level that a definition refers to.

        What annotations alone name is left out where it is of another module of ours: nobody
        evaluates them, and a type may bring half the project.
        """
        statement = self.own[name]
        evaluated = _names(_evaluated(statement)) & (self.own.keys() | self.ours.keys())
        written = _names(ast.walk(statement)) & (self.own.keys() | self.others.keys())
        return sorted((evaluated | written) - {name})

    def texts(self, names: list[str]) -> Iterator[str]:
        """The source of definitions, in their order here."""
        lines, wanted = self.source.splitlines(), [self.own[name] for name in names]
        for statement in self.body:
            if any(statement is each for each in wanted):
                above = [each.lineno for each in getattr(statement, "decorator_list", ())]
                first = min([statement.lineno, *above])
                yield textwrap.dedent("\n".join(lines[first - 1 : statement.end_lineno]))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a top level, without what is for type checkers alone."""
    for statement in body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            yield from statement.orelse
        else:
            yield statement


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and what is inside, without the annotations of functions."""
    yield node
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.arg | ast.FunctionDef) and name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _evaluated(child)
