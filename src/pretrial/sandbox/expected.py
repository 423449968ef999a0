"""What an assert says of a value: the part of it that the program's process never sees."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Relation = Literal[
    "==", "!=", "<", "<=", ">", ">=", "in", "not in", "is", "is true", "near", "nearer", "close"
]

_HOLDS: dict[Relation, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda got, value: got in value,
    "not in": lambda got, value: got not in value,
    "is": lambda got, value: type(got) is type(value) and got == value,
    "is true": lambda got, value: got is value,
    "near": lambda got, value: abs(got - value[0]) <= value[1],
    "nearer": lambda got, value: abs(got - value[0]) < value[1],
    "close": lambda got, value: math.isclose(got, value[0], rel_tol=value[1], abs_tol=value[2]),
}
_WORDS = {"==": "", "is true": "", "near": "about ", "nearer": "about ", "close": "about "}


@dataclass(frozen=True)
class Says:
    """What an assert says of a value, as Python has it, without any further allowance.

    Attributes:
        relation: how the value stands to the one expected. "is" is for None, True and False; "is
            true" for what the program's side was as a condition; "near" and "nearer" for
            abs(got - expected) <= and < a tolerance; "close" for `math.isclose`.
        value: the one expected; with tolerances a tuple of it and them.
    """

    relation: Relation
    value: Any

    def holds(self, got: Any) -> bool:
        """Whether a value that came over the pipe is so; False where the two do not compare."""
        try:
            return bool(_HOLDS[self.relation](got, self.value))
        except (ArithmeticError, TypeError, ValueError, RecursionError):
            return False

    @property
    def words(self) -> str:
        """What a message says before the value."""
        return _WORDS.get(self.relation, f"{self.relation} ")

    @property
    def shown(self) -> Any:
        """The value that a message shows."""
        return self.value[0] if self.relation in ("near", "nearer", "close") else self.value
