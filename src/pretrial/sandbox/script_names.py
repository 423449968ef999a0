"""What the names of an assert script mean: its own, or those of the program before it."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from typing import Any

from pretrial.sandbox.constants import is_constant

# Builtins that make of a value what can be compared, and compare nothing themselves.
_VIEWS = {
    *(abs, bool, bytes, dict, float, frozenset, int, len, list, max, min),
    *(repr, round, set, sorted, str, sum, tuple),
}
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_OUTSIDE = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)  # what has no place in a lambda
_LEAVING = (ast.Return, ast.Yield, ast.YieldFrom)
_MOST_STEPS = 20  # from a name to where its value comes from


class ScriptNames:
    """The names of one script, and by them what its statements and expressions do.

    Attributes:
        check: the function `check` of HumanEval's scripts, where it is called once with the
            function under test; None for other scripts.
        taken: names that the script gives a meaning of its own.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._functions: dict[str, ast.AST] = {}
        self._imported: set[str] = set()
        self._values: dict[str, list[ast.expr | None]] = defaultdict(list)
        self._collect()
        self.taken = frozenset({*self._functions, *self._imported, *self._values})
        self._candidate = ""
        self.check, self._call = self._find_check()
        if self.check is not None:
            self._candidate = self.check.args.args[0].arg

    def in_order(self) -> Iterator[ast.stmt]:
        """The statements that run once, in the order in which they do."""
        for statement in self.tree.body:
            if statement is self._call:
                assert self.check is not None
                yield from self.check.body
            else:
                yield statement

    # --- expressions ---

    def is_side(self, node: ast.expr) -> bool:
        """Whether an expression shows what the program gives, and compares it with nothing.

        Such as `f(1)`, `sorted(f(x))`, `Solution().f(x)`, `result[0]`, `[f(n) for n in range(9)]`.
        Other operations on the program's values could be answered by an object that lies.
        """
        return self._is_side(node, _MOST_STEPS)

    def is_own_call(self, node: ast.expr) -> bool:
        """Whether an expression is a call of the program itself, no view of what it gives."""
        if not isinstance(node, ast.Call) or not self.is_side(node):
            return False
        return not (isinstance(node.func, ast.Name) and self._is_view(node.func.id))

    def _is_side(self, node: ast.expr, steps: int) -> bool:
        if steps < 0 or any(isinstance(each, _OUTSIDE) for each in ast.walk(node)):
            return False
        match node:
            case ast.Call(ast.Name(name), [first, *others], []) if self._is_view(name):
                plain = all(isinstance(each, ast.Constant) for each in others)
                return plain and self._is_side(first, steps - 1)
            case ast.Call(ast.Name(name)):
                return self._is_programs(name)
            case ast.Call(ast.Attribute(value)) if self._is_object(value, steps - 1):
                return True  # Solution().f(x)
            case ast.Call(ast.Attribute(value), [], []) | ast.Attribute(value):
                return self._is_side(value, steps - 1)
            case ast.Subscript(value, ast.Constant() | ast.UnaryOp(ast.USub(), ast.Constant())):
                return self._is_side(value, steps - 1)
            case ast.List([_, *_] as items) | ast.Tuple([_, *_] as items):
                return all(self._is_side(item, steps - 1) for item in items)
            case ast.ListComp(item, generators):
                plain = not any(each.ifs or each.is_async for each in generators)
                return plain and self._is_side(item, steps - 1)
            case ast.Name(name):
                return self._is_variable(name, steps - 1)
        return False

    def _is_object(self, node: ast.expr, steps: int) -> bool:
        """Whether an expression is the program's own class, or an object of it.

        Its methods may be given arguments; those of what a function returns may compare with them.
        """
        match node:
            case ast.Call(ast.Name(name)) | ast.Name(name) if self._is_programs(name):
                return name[:1].isupper()
            case ast.Name(name) if steps > 0 and self._is_variable(name, steps - 1):
                return all(v and self._is_object(v, steps - 1) for v in self._values[name])
        return False

    def _is_view(self, name: str) -> bool:
        return getattr(builtins, name, None) in _VIEWS and name not in self.taken

    def _is_programs(self, name: str) -> bool:
        """Whether a name is one that only the program can have defined."""
        if name == self._candidate:
            return True
        return name not in self.taken and not hasattr(builtins, name)

    def _is_variable(self, name: str, steps: int) -> bool:
        """Whether a name is a variable of the script that holds what the program gave."""
        if name in self._functions or name in self._imported or name not in self._values:
            return False
        return all(
            value is not None and (is_constant(value) or self._is_side(value, steps))
            for value in self._values[name]
        )

    # --- statements ---

    def is_inert(self, statement: ast.stmt) -> bool:
        """Whether a statement runs nothing of the program."""
        match statement:
            case ast.Expr(ast.Constant()):
                return True
            case ast.Assert(ast.Constant(value)):
                return bool(value)
        return isinstance(statement, (*_NAMED, ast.Import, ast.ImportFrom, ast.Pass))

    def checks(self, statement: ast.stmt) -> bool:
        """Whether a statement may find fault with the program, as far as one can see."""
        if isinstance(statement, _NAMED):
            return False
        return any(self._finds_fault(node) for node in ast.walk(statement))

    def _finds_fault(self, node: ast.AST) -> bool:
        match node:
            case ast.Assert(ast.Constant(value)):
                return not value
            case ast.Assert() | ast.Raise():
                return True
            case ast.Call(ast.Name(name)) if name in self._functions:
                inner = ast.walk(self._functions[name])
                return any(isinstance(each, ast.Assert | ast.Raise | ast.Expr) for each in inner)
            case ast.Expr(ast.Call(function)):
                while isinstance(function, ast.Attribute):
                    function = function.value
                return isinstance(function, ast.Name) and function.id in self._imported
        return False

    def unneeded_imports(
        self, sides: Mapping[Any, ast.expr], known: Container[str]
    ) -> Iterator[ast.Import | ast.ImportFrom]:
        """Imports of modules other than the known ones, of which the script uses nothing.

        Args:
            sides: of some statements the only expression that is used.
            known: modules that are always there.
        """
        used: set[str] = set()
        todo: list[ast.AST] = [self.tree]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.stmt) and node in sides:
                node = sides[node]
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.add(node.id)
            todo += ast.iter_child_nodes(node)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                modules = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [(node.module or "").split(".")[0]]
            else:
                continue
            names = {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            if not any(module in known for module in modules) and not names & {*used, "*"}:
                yield node

    # --- what is defined ---

    def _collect(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, _NAMED):
                self._functions[node.name] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = (alias.asname or alias.name for alias in node.names)
                self._imported.update(name.split(".")[0] for name in names)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._bind(node.targets[0], node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._bind(node.target, node.value)
            elif isinstance(node, ast.Lambda):
                self._bind_arguments(node.args)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._bind_arguments(node.args)
            if isinstance(node, ast.Global | ast.Nonlocal):
                for name in node.names:
                    self._values[name].append(None)
        counted = {name: len(values) for name, values in self._values.items()}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                counted[node.id] = counted.get(node.id, 0) - 1
        for name, left in counted.items():
            if left < 0:  # bound in another way: by a loop, `with`, `+=`, several targets
                self._values[name].append(None)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._values[target.id].append(value)

    def _bind_arguments(self, arguments: ast.arguments) -> None:
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self._values[each.arg].append(None)
        for other in (arguments.vararg, arguments.kwarg):
            if other is not None:
                self._values[other.arg].append(None)

    def _find_check(self) -> tuple[ast.FunctionDef | None, ast.stmt | None]:
        """`def check(candidate)` and its one call, if all of its statements run just once."""
        body = self.tree.body
        uses = [n for n in ast.walk(self.tree) if isinstance(n, ast.Name) and n.id == "check"]
        checks = [n for n in ast.walk(self.tree) if isinstance(n, _NAMED) and n.name == "check"]
        calls = [
            statement
            for statement in body
            if isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Call)
            and [statement.value.func] == uses
        ]
        match checks, calls:
            case [ast.FunctionDef() as check], [ast.Expr(ast.Call(_, [given], [])) as call]:
                parameters = check.args.args
                once = (
                    check in body[: body.index(call)]
                    and len(parameters) == 1
                    and not check.decorator_list
                    and not any(isinstance(node, _LEAVING) for node in ast.walk(check))
                    and self._values[parameters[0].arg] == [None]
                    and parameters[0].arg not in {*self._functions, *self._imported}
                )
                if once and self._is_given(given):
                    return check, call
        return None, None

    def _is_given(self, node: ast.expr) -> bool:
        """Whether an expression names a function of the program: `add` or `Solution().add`."""
        match node:
            case ast.Name(name) | ast.Attribute(ast.Name(name) | ast.Call(ast.Name(name), [], [])):
                return self._is_programs(name)
        return False
