"""Assert scripts, taken apart so that expected values stay out of the program's process.

    assert add(1, 2) == 3        # what is sent to the program:  __shown__(lambda: add(1, 2))

The script still runs after the program, in its process and in the script's order; but of an assert
that compares what the program gives with a constant, only the program's side is sent. Its value
comes back over the pipe as plain data and is compared here. So a program can neither read what is
expected nor pretend to be equal to it, and every such assert is a test of its own.

Loops over constants are written out before, see `written_out`. What cannot be taken apart runs as
it stands: asserts in other loops, comparisons of two values that are computed, calls of the
script's own functions that check something. `Parts.rest` says so. All of it counts as one test, and
its passing rests on the program's honesty.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pretrial.sandbox.constants import NotConstantError, value_of
from pretrial.sandbox.expected import Relation, Says
from pretrial.sandbox.inside.wire import SHOWN
from pretrial.sandbox.literals import parse_python, parses, short_numbers
from pretrial.sandbox.script_names import ScriptNames
from pretrial.sandbox.written_out import write_out

_RELATIONS: dict[type[ast.cmpop], Relation] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
}
_TURNED_ROUND: dict[Relation, Relation] = {
    "==": "==",
    "!=": "!=",
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
    "is": "is",
}


@dataclass(frozen=True)
class Parts:
    """An assert script, taken apart.

    Attributes:
        script: what runs after the program: shows values, and asserts what could not be taken out.
        says: what the values that it shows should be, in their order.
        rest: whether something that checks is left in the script, which shares the interpreter with
            the program: a dishonest one could forge its passing.
    """

    script: str
    says: tuple[Says, ...] = ()
    rest: bool = False

    def __len__(self) -> int:
        """How many tests it is."""
        return len(self.says) + self.rest


class _Turned(NamedTuple):
    """An assert: the program's side of it, and what is expected of that."""

    statement: ast.Assert
    side: ast.expr
    says: Says


@lru_cache(maxsize=4096)
def take_apart(script: str, function: str = "") -> Parts:
    """The parts of an assert script.

    Args:
        script: Python. HumanEval's kind only defines `check`: the call is added where it lacks.
        function: name of the function under test.
    """
    if not script.strip():
        return Parts("")
    script = _with_call(script, function)
    try:
        tree = parse_python(script)
        assert isinstance(tree, ast.Module)
        if write_out(tree):
            script = ast.unparse(tree)
            tree = parse_python(script)
            assert isinstance(tree, ast.Module)
        return _Script(tree, _as_parsed(script)).parts()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Parts(script, rest=True)  # each program then reports the error


def _with_call(script: str, function: str) -> str:
    call = f"check({function})"
    if function and "def check(" in script and call not in script:
        return f"{script}\n{call}\n"
    return script


def _as_parsed(script: str) -> str:
    """The text whose lines and columns are those of the syntax tree."""
    if not parses(script):
        script = short_numbers(script)
    return script.replace("\r\n", "\n").replace("\r", "\n")


class _Script:
    """One script: its syntax tree, its lines, and what its names mean."""

    def __init__(self, tree: ast.Module, text: str) -> None:
        self.tree = tree
        self.lines = [line.encode() for line in text.split("\n")]
        self.names = ScriptNames(tree)

    def parts(self) -> Parts:
        """Take it apart."""
        turned: list[_Turned] = []
        rest = False
        for statement in self.names.in_order():
            found = self._turned(statement)
            turned += found or ()
            rest |= found is None and self.names.checks(statement)
        if not turned:  # then what is tested is that it runs, if it does anything
            rest = not all(map(self.names.is_inert, self.names.in_order()))
        self._replace(turned)
        script = b"\n".join(self.lines).decode()
        return Parts(script, tuple(each.says for each in turned), rest)

    # --- what becomes of an assert ---

    def _turned(self, statement: ast.stmt) -> list[_Turned] | None:
        """An assert, turned; none if it says nothing, None if it cannot be turned."""
        if not isinstance(statement, ast.Assert):
            return None
        found: list[_Turned] = []
        for test in _joined(statement.test):
            if isinstance(test, ast.Constant) and test.value:
                continue
            pair = self._part(test)
            if pair is None:
                return None
            found.append(_Turned(statement, *pair))
        return found

    def _part(self, test: ast.expr) -> tuple[ast.expr, Says] | None:
        """The program's side of a condition, and what is expected of it."""
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return self._comparison(test.left, test.ops[0], test.comparators[0])
        return self._close(test) or self._condition(test)

    def _condition(self, test: ast.expr) -> tuple[ast.expr, Says] | None:
        """`assert f(x)` and `assert not f(x)`."""
        wanted = True
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, wanted = test.operand, False
        return (test, Says("is true", wanted)) if self.names.is_own_call(test) else None

    def _comparison(
        self, left: ast.expr, kind: ast.cmpop, right: ast.expr
    ) -> tuple[ast.expr, Says] | None:
        """`assert f(x) == 3`, and with the sides changed."""
        relation = _RELATIONS.get(type(kind))
        if relation is None:
            return None
        value = self._constant(right)
        if value is None and relation in _TURNED_ROUND:
            left, value, relation = right, self._constant(left), _TURNED_ROUND[relation]
        if value is None:
            return None
        if relation == "is" and not (value[0] is None or isinstance(value[0], bool)):
            return None
        if self.names.is_side(left):
            return left, Says(relation, value[0])
        return self._near(left, relation, value[0])

    def _near(self, left: ast.expr, relation: str, tolerance: Any) -> tuple[ast.expr, Says] | None:
        """`assert abs(f(x) - 1.5) < 1e-6`."""
        match left:
            case ast.Call(ast.Name("abs"), [ast.BinOp(side, ast.Sub(), wanted)], []):
                value = self._constant(wanted)
                if value is None:
                    side, value = wanted, self._constant(side)
                numbers = value is not None and _numbers(value[0], tolerance)
                if value and numbers and relation in ("<", "<=") and self.names.is_side(side):
                    kind: Relation = "nearer" if relation == "<" else "near"
                    return side, Says(kind, (value[0], tolerance))
        return None

    def _close(self, test: ast.expr) -> tuple[ast.expr, Says] | None:
        """`assert math.isclose(f(x), 1.5, rel_tol=1e-3)`."""
        match test:
            case ast.Call(ast.Attribute(ast.Name("math"), "isclose"), [side, wanted], options):
                value = self._constant(wanted)
                given = {option.arg: self._constant(option.value) for option in options}
                known = {"rel_tol": (1e-9,), "abs_tol": (0.0,)}
                if value is None or None in given.values() or not given.keys() <= known.keys():
                    return None
                rel_tol, abs_tol = ((known | given)[name] for name in known)
                assert rel_tol is not None
                assert abs_tol is not None
                numbers = (*value, *rel_tol, *abs_tol)
                if self.names.is_side(side) and _numbers(*numbers):
                    return side, Says("close", numbers)
        return None

    def _constant(self, node: ast.expr) -> tuple[Any] | None:
        """The value of a constant expression, in a tuple; None if it is none."""
        try:
            return (value_of(node, self.names.taken),)
        except NotConstantError:
            return None

    # --- the text ---

    def _replace(self, turned: Sequence[_Turned]) -> None:
        """Leave of each turned assert the program's side alone."""
        shown: dict[ast.stmt, list[bytes]] = {}
        sides: dict[ast.stmt, list[ast.expr]] = {}
        for each in turned:
            side = b"(%s)" % self._text(each.side)
            if each.says.relation == "is true":
                side = b"not not " + side
            text = b"%s(lambda: %s)" % (SHOWN.encode(), side)
            shown.setdefault(each.statement, []).append(text)
            sides.setdefault(each.statement, []).append(each.side)
        edits = [(statement, b"; ".join(texts)) for statement, texts in shown.items()]
        kept = {statement: ast.Tuple(each) for statement, each in sides.items()}
        for unneeded in self.names.unneeded_imports(kept, sys.stdlib_module_names):
            if self._alone(unneeded):
                words = self._text(unneeded), b" " * unneeded.col_offset
                edits.append((unneeded, b"try: %s\n%sexcept ImportError: pass" % words))
        for statement, text in sorted(edits, key=lambda edit: _place(edit[0]), reverse=True):
            self._put(statement, text)

    def _put(self, node: ast.stmt, text: bytes) -> None:
        (row, start), (last, end) = _place(node), _end(node)
        whole = self.lines[row][:start] + text + self.lines[last][end:]
        self.lines[row : last + 1] = [whole]

    def _text(self, node: ast.stmt | ast.expr) -> bytes:
        (row, start), (last, end) = _place(node), _end(node)
        if row == last:
            return self.lines[row][start:end]
        between = self.lines[row + 1 : last]
        return b"\n".join([self.lines[row][start:], *between, self.lines[last][:end]])

    def _alone(self, node: ast.stmt) -> bool:
        """Whether nothing else stands on a statement's lines."""
        (row, start), (last, end) = _place(node), _end(node)
        after = self.lines[last][end:].strip()
        blank = self.lines[row][:start] == b" " * start
        return blank and (not after or after.startswith(b"#"))


def _joined(test: ast.expr) -> list[ast.expr]:
    """The conditions that `and` joins: each is a test."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [part for value in test.values for part in _joined(value)]
    return [test]


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _place(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.lineno - 1, node.col_offset


def _end(node: ast.stmt | ast.expr) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno - 1, node.end_col_offset
