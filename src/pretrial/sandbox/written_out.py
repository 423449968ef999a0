"""Assert scripts made plainer before they are taken apart, with the same meaning.

Loops over constants are written out, so that each assert in them is one that compares with a
constant; and the bodies of pytest's test functions, which nobody calls, stand in the script itself.
"""

from __future__ import annotations

import ast
import copy
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pretrial.sandbox.constants import NotConstantError, value_of

_MOST = 500  # statements that the loops of a script may become
_INSIDE = (ast.Assert, ast.Assign, ast.AnnAssign, ast.Expr, ast.For)  # of a loop
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def write_out(tree: ast.Module) -> bool:
    """Make a script plainer in place; whether anything of it has changed."""
    changed = _put_tests_in(tree)
    for node in (tree, *tree.body):
        if isinstance(node, ast.Module) or (
            isinstance(node, ast.FunctionDef) and node.name == "check"
        ):
            changed |= _Loops(tree, node.body).write_out()
    if changed:
        ast.fix_missing_locations(tree)
    return changed


def _put_tests_in(tree: ast.Module) -> bool:
    """Put the bodies of `def test_...():` at the end, where the script does nothing else."""
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and _is_test(node)]
    others = [node for node in tree.body if node not in tests]
    plain = (ast.Import, ast.ImportFrom, ast.Assign, *_FUNCTIONS)
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if not tests or not all(isinstance(node, plain) for node in others):
        return False
    if named & {test.name for test in tests}:
        return False
    inner = [node for test in tests for each in test.body for node in ast.walk(each)]
    if any(isinstance(n, ast.Return | ast.Global | ast.Nonlocal | ast.Yield) for n in inner):
        return False
    tree.body = others + [each for test in tests for each in test.body]
    return True


def _is_test(node: ast.FunctionDef) -> bool:
    given = node.args
    none = not (given.posonlyargs or given.args or given.kwonlyargs or given.vararg or given.kwarg)
    return node.name.startswith("test") and none and not node.decorator_list


class _Loops:
    """The loops of one block of statements."""

    def __init__(self, tree: ast.Module, body: list[ast.stmt]) -> None:
        self.body = body
        self.names = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        # names that hold something else than builtins: written to, defined or imported
        self.taken = frozenset(_taken(tree))
        self.tables = {
            each.targets[0].id: each
            for each in body
            if isinstance(each, ast.Assign)
            and len(each.targets) == 1
            and isinstance(each.targets[0], ast.Name)
        }
        self.used: list[ast.stmt] = []

    def write_out(self) -> bool:
        """Replace in place the loops that can be; whether there were any."""
        made: list[ast.stmt] = []
        changed = False
        for statement in self.body:
            used = len(self.used)
            try:
                found = self._loop(statement, {}) if isinstance(statement, ast.For) else None
            except NotConstantError:
                found = None
            if found is None or len(made) + len(found) > _MOST:
                del self.used[used:]
                found = [statement]
            else:
                changed = True
            made += found
        # a table that only a loop has read would show the program what is expected
        self.body[:] = [each for each in made if each not in self.used]
        return changed

    def _loop(self, loop: ast.For, known: Mapping[str, Any]) -> list[ast.stmt]:
        """The statements of a loop, for each item anew.

        Raises:
            NotConstantError: it cannot be written out.
        """
        variables = [node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)]
        inside = Counter(node.id for node in ast.walk(loop) if isinstance(node, ast.Name))
        bound = [
            node.id
            for each in (*loop.body, loop.iter)
            for node in ast.walk(each)
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
        ]
        plain = (
            not loop.orelse
            and all(isinstance(each, _INSIDE) for each in loop.body)
            and not any(isinstance(n, _FUNCTIONS) for each in loop.body for n in ast.walk(each))
            and all(inside[name] == self.names[name] for name in variables)
            and not {*variables} & {*bound}
            and len({*variables}) == len(variables)
        )
        if not plain:
            raise NotConstantError
        made: list[ast.stmt] = []
        for item in self._items(_replaced(loop.iter, known)):
            values = dict(known)
            _bind(loop.target, item, values)
            for name in variables:
                if inside[name] > 2 and _can_change(values[name]):
                    raise NotConstantError  # the program could change what is then expected
            for each in loop.body:
                if isinstance(each, ast.For):
                    made += self._loop(each, values)
                else:
                    made.append(_replaced(each, values))
            if len(made) > _MOST:
                raise NotConstantError
        return made

    def _items(self, node: ast.expr) -> list[Any]:
        """What a loop goes over, if it is constant and has an order."""
        match node:
            case ast.Call(ast.Name("zip"), [_, *_] as parts, []) if "zip" not in self.taken:
                return [*zip(*map(self._items, parts), strict=False)]
            case ast.Call(ast.Name("enumerate"), [part], []) if "enumerate" not in self.taken:
                return [*enumerate(self._items(part))]
            case ast.Call(ast.Attribute(value, "items"), [], []):
                return self._listed(self._value(value, dict).items())
            case ast.Call(ast.Name("range"), [_, *_] as parts, []) if "range" not in self.taken:
                numbers = [value_of(part, self.taken) for part in parts]
                if not all(type(number) is int for number in numbers) or len(numbers) > 3:
                    raise NotConstantError
                return self._listed(range(*numbers))
        return self._listed(self._value(node, list | tuple | str | dict))

    def _value(self, node: ast.expr, kind: Any) -> Any:
        if isinstance(node, ast.Name) and self.names[node.id] == 2 and node.id in self.tables:
            table = self.tables[node.id]
            self.used.append(table)
            node = table.value
        value = value_of(node, self.taken)
        if not isinstance(value, kind):
            raise NotConstantError
        return value

    def _listed(self, items: Iterable[Any]) -> list[Any]:
        found = [*itertools.islice(items, _MOST + 1)]
        if len(found) > _MOST:
            raise NotConstantError
        return found


def _taken(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)


def _bind(target: ast.expr, item: Any, values: dict[str, Any]) -> None:
    """Give the names of a loop's target their values."""
    if isinstance(target, ast.Name):
        values[target.id] = item
        return
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(item, tuple | list):
        raise NotConstantError
    if len(target.elts) != len(item):
        raise NotConstantError
    for part, value in zip(target.elts, item, strict=True):
        _bind(part, value, values)


def _can_change(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_can_change, value))
    return isinstance(value, list | dict | set)


def _replaced(node: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a piece of a syntax tree, with constants in place of some names."""

    class Replace(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return _node(values[name.id]) if name.id in values else name

    return Replace().visit(copy.deepcopy(node))


def _node(value: Any) -> ast.expr:
    """The syntax tree of a value.

    Raises:
        NotConstantError: no literal means it, as infinity.
    """
    try:
        found = ast.parse(repr(value), mode="eval").body
        if ast.literal_eval(found) == value:
            return found
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    raise NotConstantError
