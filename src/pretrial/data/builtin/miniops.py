"""The operations that mini-APPS problems are composed of, and how they are written as programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Type = Literal["list", "str", "int"]
_LARGEST_NUMBER = 10_000
_LONGEST = 24


def in_range(value: Any) -> bool:
    """Whether a value is small enough for the statements to stay short."""
    if isinstance(value, int):
        return abs(value) <= _LARGEST_NUMBER
    return len(value) <= _LONGEST and (isinstance(value, str) or all(map(in_range, value)))


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        name: unique.
        source: type it takes.
        target: type it gives.
        expression: Python, with {x} for the argument and {k} for the constant.
        phrases: what a statement says, as orders, with {k} where there is a constant.
        constants: the values of k; empty where there is none.
        loop: the same as a loop, in which y is the result: (start of y, what is looped over,
            lines of the body); None where a loop would not be natural.
    """

    name: str
    source: Type
    target: Type
    expression: str
    phrases: tuple[str, ...]
    constants: tuple[int, ...] = ()
    loop: tuple[str, str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Step:
    """An operation with its constant; callable."""

    op: Op
    k: int | None = None
    _function: Callable[[Any], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The operation runs the very text that solutions are built from, so they cannot disagree.
        object.__setattr__(self, "_function", eval(f"lambda x: {self.write('x')}"))

    def __call__(self, value: Any) -> Any:
        return self._function(value)

    def write(self, x: str) -> str:
        """The operation applied to an expression."""
        return self.op.expression.format(x=x, k=self.k)


def _map(item: str, over: str = "{x}") -> tuple[str, str, tuple[str, ...]]:
    return "[]", over, (f"y.append({item})",)


def _filter(condition: str) -> tuple[str, str, tuple[str, ...]]:
    return "[]", "{x}", (f"if {condition}:", "    y.append(v)")


OPERATIONS: tuple[Op, ...] = (
    Op("reverse", "list", "list", "{x}[::-1]", ("reverse the list", "turn the list around")),
    Op(
        "sort",
        "list",
        "list",
        "sorted({x})",
        ("sort the list", "sort the numbers", "put the numbers in order"),
    ),
    Op(
        "double",
        "list",
        "list",
        "[v * 2 for v in {x}]",
        ("double each number", "multiply each number by 2"),
        loop=_map("v * 2"),
    ),
    Op(
        "square",
        "list",
        "list",
        "[v * v for v in {x}]",
        ("square each number", "multiply each number by itself"),
        loop=_map("v * v"),
    ),
    Op(
        "negate",
        "list",
        "list",
        "[-v for v in {x}]",
        ("negate each number", "change the sign of each number"),
        loop=_map("-v"),
    ),
    Op(
        "add",
        "list",
        "list",
        "[v + {k} for v in {x}]",
        ("add {k} to each number", "increase each number by {k}"),
        (1, 2, 3),
        _map("v + {k}"),
    ),
    Op(
        "even",
        "list",
        "list",
        "[v for v in {x} if v % 2 == 0]",
        ("keep the even numbers", "remove the odd numbers"),
        loop=_filter("v % 2 == 0"),
    ),
    Op(
        "odd",
        "list",
        "list",
        "[v for v in {x} if v % 2 == 1]",
        ("keep the odd numbers", "remove the even numbers"),
        loop=_filter("v % 2 == 1"),
    ),
    Op(
        "more",
        "list",
        "list",
        "[v for v in {x} if v > {k}]",
        ("keep the numbers above {k}", "keep the numbers larger than {k}"),
        (0, 2, 4),
        _filter("v > {k}"),
    ),
    Op(
        "unique",
        "list",
        "list",
        "list(dict.fromkeys({x}))",
        ("remove repeated numbers", "keep each number once"),
        loop=_filter("v not in y"),
    ),
    Op(
        "tail",
        "list",
        "list",
        "{x}[1:]",
        ("drop the first number", "remove the first number"),
    ),
    Op(
        "init",
        "list",
        "list",
        "{x}[:-1]",
        ("drop the last number", "remove the last number"),
    ),
    Op(
        "second",
        "list",
        "list",
        "{x}[::2]",
        ("take every second number", "keep every second number"),
    ),
    Op(
        "first",
        "list",
        "list",
        "{x}[:{k}]",
        ("take the first {k} numbers", "keep the first {k} numbers"),
        (2, 3),
    ),
    Op(
        "absolute",
        "list",
        "list",
        "[abs(v) for v in {x}]",
        ("take absolute values", "drop all minus signs"),
        loop=_map("abs(v)"),
    ),
    Op("largest", "list", "int", "max({x})", ("take the largest number", "find the maximum")),
    Op("smallest", "list", "int", "min({x})", ("take the smallest number", "find the minimum")),
    Op(
        "sum",
        "list",
        "int",
        "sum({x})",
        ("add up the numbers", "take the sum"),
        loop=("0", "{x}", ("y += v",)),
    ),
    Op(
        "count",
        "list",
        "int",
        "len({x})",
        ("count the numbers", "take the length"),
        loop=("0", "{x}", ("y += 1",)),
    ),
    Op(
        "digits",
        "int",
        "list",
        "[int(v) for v in str({x})]",
        ("list the digits", "split it into digits"),
        loop=_map("int(v)", "str({x})"),
    ),
    Op("twice", "int", "int", "{x} * 2", ("double it", "multiply it by 2")),
    Op("plus", "int", "int", "{x} + {k}", ("add {k} to it", "increase it by {k}"), (1, 5)),
    Op("upper", "str", "str", "{x}.upper()", ("use upper case", "make the text upper case")),
    Op("backward", "str", "str", "{x}[::-1]", ("reverse the text", "spell it backwards")),
    Op(
        "consonants",
        "str",
        "str",
        "''.join(v for v in {x} if v not in 'aeiou')",
        ("remove the vowels", "drop all vowels"),
        loop=("''", "{x}", ("if v not in 'aeiou':", "    y += v")),
    ),
    Op(
        "words_sorted",
        "str",
        "str",
        "' '.join(sorted({x}.split()))",
        ("sort the words", "put the words in order"),
    ),
    Op(
        "words_reversed",
        "str",
        "str",
        "' '.join({x}.split()[::-1])",
        ("reverse the words", "turn the words around"),
    ),
    Op(
        "lengths",
        "str",
        "list",
        "[len(v) for v in {x}.split()]",
        ("list the word lengths", "take the length of each word"),
        loop=_map("len(v)", "{x}.split()"),
    ),
    Op(
        "vowels",
        "str",
        "int",
        "sum(v in 'aeiou' for v in {x})",
        ("count the vowels", "take the number of vowels"),
        loop=("0", "{x}", ("y += v in 'aeiou'",)),
    ),
)

STEPS = tuple(Step(op, k) for op in OPERATIONS for k in op.constants or (None,))


def nested(steps: Sequence[Step], x: str = "x") -> str:
    """The composition as one expression."""
    before = ""
    for step in steps:
        # The only two operators that meet: a sum is multiplied.
        x = step.write(f"({x})" if (before, step.op.name) == ("plus", "twice") else x)
        before = step.op.name
    return x


def nested_style(steps: Sequence[Step]) -> list[str]:
    """Lines that leave the result in the last expression: everything in one expression."""
    return [nested(steps)]


def step_style(steps: Sequence[Step]) -> list[str]:
    """One line for each step; the last line is the result."""
    return [f"x = {nested([step])}" for step in steps[:-1]] + [nested(steps[-1:])]


def third_style(steps: Sequence[Step]) -> list[str] | None:
    """A pair with a loop, or None where no loop is natural; three steps in two lines.

    Three steps with a loop would be longer than the models that these problems are for can learn.
    """
    if len(steps) == 3:
        return [f"x = {nested(steps[:2])}", nested(steps[2:])]
    place = next((i for i in reversed(range(len(steps))) if steps[i].op.loop), None)
    if place is None or (loop := steps[place].op.loop) is None:
        return None
    start, over, body = loop
    source = over.format(x=nested(steps[:place]))
    lines = [f"y = {start}", f"for v in {source}:", *(f"    {line}" for line in body)]
    return [line.format(k=steps[place].k) for line in lines] + [nested(steps[place + 1 :], "y")]
