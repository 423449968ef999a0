"""The values of constant expressions, such as `(3 + 5, "a" * 3)` or `set([1, 2])`.

Expected values in assert scripts are written so. Nothing is looked up but builtins that build plain
values, and nothing grows beyond bounds, so that no text can do harm here or take long.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

MOST_BITS, MOST_ITEMS = 100_000, 1_000_000

_TYPES = (bool, bytes, complex, dict, float, frozenset, list, range, reversed, set, str, tuple)
_FUNCTIONS = (abs, len, max, min, round, sorted, sum)
_BUILTINS: dict[str, Callable[..., Any]] = {each.__name__: each for each in (*_TYPES, *_FUNCTIONS)}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}
_SIZED = (str, bytes, list, tuple, dict, set, frozenset)
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, type(None))


class NotConstantError(Exception):
    """The expression has no value that is known without running anything."""


def value_of(node: ast.expr, taken: frozenset[str] = frozenset()) -> Any:
    """The value of a constant expression; a plain one, of the types that literals have.

    Args:
        node: its syntax tree.
        taken: names that do not mean the builtins they are called after.

    Raises:
        NotConstantError: it is none, or too large.
    """
    try:
        value = _value(node, taken)
    except (ArithmeticError, LookupError, TypeError, ValueError, MemoryError, RecursionError) as e:
        raise NotConstantError from e
    if not isinstance(value, _PLAIN):
        raise NotConstantError
    return value


def is_constant(node: ast.expr) -> bool:
    """Whether `value_of` has a value for an expression."""
    try:
        value_of(node)
    except NotConstantError:
        return False
    return True


def _value(node: ast.expr, taken: frozenset[str]) -> Any:
    match node:
        case ast.Constant(value) if isinstance(value, _PLAIN):
            return value
        case ast.List(items):
            return [_value(item, taken) for item in items]
        case ast.Tuple(items):
            return tuple(_value(item, taken) for item in items)
        case ast.Set(items):
            return {_value(item, taken) for item in items}
        case ast.Dict(keys, values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(k, taken): _value(v, taken) for k, v in pairs if k is not None}
        case ast.UnaryOp(kind, operand):
            return _UNARY[type(kind)](_value(operand, taken))
        case ast.BinOp(left, kind, right) if type(kind) in _BINARY:
            return _binary(kind, _value(left, taken), _value(right, taken))
        case ast.Call(ast.Name(name), arguments, []) if name in _BUILTINS and name not in taken:
            return _bounded(_BUILTINS[name](*(_items(_value(a, taken)) for a in arguments)))
    raise NotConstantError


def _binary(kind: ast.operator, left: Any, right: Any) -> Any:
    """The result of an operation, unless it would be large."""
    numbers = isinstance(left, int | float | complex) and isinstance(right, int | float | complex)
    if isinstance(kind, ast.Mod) and not numbers:
        raise NotConstantError  # a text's formatting
    whole = isinstance(left, int) and isinstance(right, int)
    if isinstance(kind, ast.Pow) and whole and left.bit_length() * abs(right) > MOST_BITS:
        raise NotConstantError
    if isinstance(kind, ast.LShift) and whole and right > MOST_BITS:
        raise NotConstantError
    if isinstance(kind, ast.Mult) and not numbers:
        count, items = (left, right) if isinstance(left, int) else (right, left)
        if count * len(items) > MOST_ITEMS:
            raise NotConstantError
    return _bounded(_BINARY[type(kind)](left, right))


def _items(value: Any) -> Any:
    """An argument; a range is made a list only where it is short."""
    if isinstance(value, range) and len(value) > MOST_ITEMS:
        raise NotConstantError
    return value


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise NotConstantError
    if isinstance(value, _SIZED) and len(value) > MOST_ITEMS:
        raise NotConstantError
    return value
