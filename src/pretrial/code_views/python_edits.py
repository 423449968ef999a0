"""Where Python can be changed while it goes on meaning the same. In doubt: nowhere."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from pretrial.code_views.view import Edits, Name, Place, Span

if TYPE_CHECKING:
    from pretrial.code_views.python import PythonView

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_DEFINITIONS, ast.ClassDef, ast.Lambda)
Definition = ast.FunctionDef | ast.AsyncFunctionDef
#: Functions to which names of variables are data.
_LOOK_AT_NAMES = {"locals", "globals", "vars", "dir", "eval", "exec"}
_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr)
_CUSTOMARY = {"self", "cls", "mcs", "_"}


def python_edits(view: PythonView) -> Edits:
    """The edits of a view; see `Edits`."""
    module = view.module
    if module is None or _LOOK_AT_NAMES & view.identifiers().keys():
        return Edits()
    try:
        table = symtable.symtable(view.text, "text", "exec")
    except (SyntaxError, ValueError, RecursionError):  # the parser is more lenient than the tables
        return Edits()
    return _PythonEdits(view, module, table)


class _PythonEdits(Edits):
    """Edits of a text that parses."""

    def __init__(self, view: PythonView, module: ast.Module, table: symtable.SymbolTable) -> None:
        self.view = view
        self.module = module
        self.table = table

    @cached_property
    def variables(self) -> list[Name]:
        """See `Edits.variables`."""
        found = _Occurrences(self.view, self.table)
        return [name for node in self.outermost for name in _variables(found, node)]

    @cached_property
    def functions(self) -> list[Name]:
        """See `Edits.functions`."""
        return _functions(_Occurrences(self.view, self.table), self.module)

    @cached_property
    def places(self) -> list[Place]:
        """See `Edits.places`."""
        return [place for node in self.outermost for place in _places(self.view, node)]

    @cached_property
    def pairs(self) -> list[tuple[Span, Span]]:
        """See `Edits.pairs`."""
        return [pair for node in self.outermost for pair in _pairs(self.view, node)]

    @cached_property
    def outermost(self) -> list[Definition]:
        """Functions that are inside no other function."""
        return list(_outermost(self.module))


class _Occurrences:
    """All tokens that are names of variables or of functions, and the tables of their scopes."""

    def __init__(self, view: PythonView, table: symtable.SymbolTable) -> None:
        self.view = view
        keywords = [node for node in view.nodes if isinstance(node, ast.keyword)]
        self.keywords = {node.arg for node in keywords}
        places = {view.span(node)[0] for node in keywords}
        text, tokens = view.text, view.tokens
        self.spans: dict[str, list[Span]] = {}
        for before, token in zip([None, *tokens], tokens, strict=False):
            attribute = before is not None and text[before.start : before.end] == "."
            if token.kind == "identifier" and not attribute and token.start not in places:
                self.spans.setdefault(text[token.start : token.end], []).append(token[1:])
        self.unclear = self._unclear()
        self.tables = {
            (inner.get_name(), inner.get_lineno()): inner
            for inner in _tables(table)
            if inner.get_type() == "function"
        }

    def _unclear(self) -> set[str]:
        """Names of which some tokens cannot be told apart, or whose spelling is printed."""
        unclear: set[str] = set()
        for node in self.view.nodes:
            if isinstance(node, ast.JoinedStr):  # the parser's places are wrong in there
                inner = ast.walk(node)
                unclear.update(n.arg for n in inner if isinstance(n, ast.keyword) and n.arg)
            elif isinstance(node, ast.MatchClass):
                unclear.update(node.kwd_attrs)
        tokens, text = self.view.tokens, self.view.text
        for name, sign, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
            shown = text[sign.start : sign.end] == "=" and text[end.start] in "}!:"
            if shown and name.kind == "identifier":  # f"{name=}"
                unclear.add(text[name.start : name.end])
        return unclear


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    """A table of names and those inside it."""
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _outermost(node: ast.AST) -> Iterator[Definition]:
    """Functions that are inside no other function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _DEFINITIONS):
            yield child
        else:
            yield from _outermost(child)


def _variables(occurrences: _Occurrences, function: Definition) -> list[Name]:
    """Names that mean a local variable wherever they stand in a function."""
    table = occurrences.tables.get((function.name, function.lineno))
    if table is None:
        return []
    local, other = set[str](), set(occurrences.unclear)
    for scope in _tables(table):
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            local.add(name)
            fixed = symbol.is_global() or symbol.is_imported() or symbol.is_namespace()
            in_class = scope.get_type() == "class" and symbol.is_local()
            by_keyword = symbol.is_parameter() and name in occurrences.keywords
            if fixed or in_class or by_keyword:
                other.add(name)
    for node in ast.walk(function):
        if isinstance(node, ast.arguments):
            other.update(argument.arg for argument in node.kwonlyargs)
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    given += [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    outside: list[ast.expr | None] = [argument.annotation for argument in given]
    outside += [*function.decorator_list, *arguments.defaults, *arguments.kw_defaults]
    for expression in [*outside, function.returns]:
        names = ast.walk(expression) if expression else ()
        other.update(node.id for node in names if isinstance(node, ast.Name))
    start, end = occurrences.view.span(function)
    found = []
    for name, spans in occurrences.spans.items():
        if name in local - other - _CUSTOMARY and not name.startswith("__"):
            inside = [span for span in spans if start <= span[0] < end]
            if inside:
                found.append(Name(name, inside))
    return found


def _functions(occurrences: _Occurrences, module: ast.Module) -> list[Name]:
    """Names that mean the same function of the outermost level wherever they stand."""
    definitions = [node.name for node in module.body if isinstance(node, _DEFINITIONS)]
    strings = {
        node.value
        for node in occurrences.view.nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    bound: list[str] = []
    for node in occurrences.view.nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.append(node.id)
        elif isinstance(node, (*_DEFINITIONS, ast.ClassDef)):
            bound.append(node.name)
        elif isinstance(node, ast.arg):
            bound.append(node.arg)
        elif isinstance(node, ast.Global):
            bound += node.names
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound += [(alias.asname or alias.name).split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.append(node.rest)
    return [
        Name(name, occurrences.spans[name])
        for name in definitions
        if bound.count(name) == 1
        and name not in strings | occurrences.unclear
        and not name.startswith("__")
    ]


def _bodies(node: ast.AST) -> Iterator[tuple[list[ast.stmt], bool]]:
    """Lists of statements of a function and of those inside it; True in try and with."""
    waiting = [(node, False)]
    while waiting:
        outer, guarded = waiting.pop()
        guarded = guarded and not isinstance(outer, _DEFINITIONS)
        guarded = guarded or isinstance(outer, ast.Try | ast.TryStar | ast.With | ast.AsyncWith)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(outer, name, None)
            if isinstance(block, list) and not isinstance(outer, ast.ClassDef):
                yield block, guarded
        waiting += [(inner, guarded) for inner in ast.iter_child_nodes(outer)]


def _own_line(view: PythonView, node: ast.stmt) -> Place | None:
    """Where the line begins that a statement begins; None if something stands before it."""
    start = view.span(node)[0]
    line = view.line_starts[view.line_of(start) - 1]
    indent = view.text[line:start]
    continued = view.text[:line].rstrip("\r\n").endswith("\\") if line else False
    if indent.strip() or continued or view.text.startswith("elif", start):
        return None
    return Place(line, indent)


def _places(view: PythonView, function: Definition) -> list[Place]:
    """Before every statement that begins a line, but for docstrings."""
    found = []
    for block, _ in _bodies(function):
        for number, node in enumerate(block):
            place = None if number == 0 and _is_text(node) else _own_line(view, node)
            if place:
                found.append(place)
    return sorted(found)


def _pairs(view: PythonView, function: Definition) -> list[tuple[Span, Span]]:
    """Neighbours one of which only binds names that the other does not use, and cannot fail.

    What it binds and reads belongs to the function alone: no inner function sees it. In `try` and
    `with` the order could show when the other fails, so there are none in these.
    """
    shared = _shared_names(function)
    parameters = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    if any(isinstance(node, ast.Delete) for node in ast.walk(function)):
        return []
    found = []
    for block, guarded in _bodies(function):
        documented = bool(block) and _is_text(block[0])
        for one, two in pairwise(block[documented:]):
            if guarded or not (_own_line(view, one) and _own_line(view, two)):
                continue
            if _independent(one, two, parameters, shared) or _independent(
                two, one, parameters, shared
            ):
                found.append((view.span(one), view.span(two)))
    return sorted(found)


def _shared_names(function: Definition) -> set[str]:
    """Names that inner scopes mention, or that are declared to be of an outer one."""
    shared: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            shared.update(node.names)
        elif isinstance(node, (*_SCOPES, ast.GeneratorExp)) and node is not function:
            shared.update(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
    return shared


def _independent(quiet: ast.stmt, other: ast.stmt, parameters: set[str], shared: set[str]) -> bool:
    """Whether the first statement only binds names and the second has no use for them."""
    bound = _quietly_bound(quiet, parameters)
    if bound is None or not isinstance(other, _SIMPLE):
        return False
    inner = list(ast.walk(other))
    if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await | ast.NamedExpr) for n in inner):
        return False
    assert isinstance(quiet, ast.Assign)
    read = {node.id for node in ast.walk(quiet.value) if isinstance(node, ast.Name)}
    names = [node for node in inner if isinstance(node, ast.Name)]
    used = {node.id for node in names}
    stored = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    if _quietly_bound(other, parameters) is not None:
        shared = set()  # no inner function runs meanwhile
    return not (bound & (used | shared) or read & (stored | shared))


def _quietly_bound(statement: ast.stmt, parameters: set[str]) -> set[str] | None:
    """The names that a statement binds to constants and parameters; None if it does more."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target, value = statement.targets[0], statement.value
    targets = [target]
    if isinstance(target, ast.Tuple):
        if not isinstance(value, ast.Tuple) or len(value.elts) != len(target.elts):
            return None
        targets = target.elts
    read = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    if not _cannot_fail(value) or not read <= parameters:
        return None
    bound = {node.id for node in targets if isinstance(node, ast.Name)}
    return bound if len(bound) == len(targets) else None


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a text, which documents something if it comes first."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _cannot_fail(value: ast.expr) -> bool:
    """Whether an expression is made of constants, parameters and displays of such."""
    if isinstance(value, ast.Constant | ast.Name):
        return True
    if isinstance(value, ast.UnaryOp):
        inner = value.operand
        return isinstance(inner, ast.Constant) and isinstance(inner.value, int | float)
    if isinstance(value, ast.Tuple | ast.List):
        return all(map(_cannot_fail, value.elts))
    if isinstance(value, ast.Dict):
        keys = all(isinstance(key, ast.Constant) for key in value.keys)
        return keys and all(map(_cannot_fail, value.values))
    return False
