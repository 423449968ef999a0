"""ListOps: nested operations on lists of digits, and what they come to (Nangia and Bowman 2018).

`[MAX 2 9 [MIN 4 7 ] 0 ]` is 9. A row holds the tokens, the same as text, and the digit. The label
cannot be had from a part of the sequence, and how tokens belong together shows in their brackets
alone, at any distance; Long Range Arena has sequences of up to 2,000 tokens (2011.04006).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from pretrial.data.rows import Row
from pretrial.errors import UserError

#: What each operation makes of a list of digits. The median of an even number of them is rounded
#: down.
OPERATIONS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda digits: _median(digits),
    "[SM": lambda digits: sum(digits) % 10,
}
END = "]"
_OPERATION_PROB = 0.25  # that an argument is a list, as in Long Range Arena's generator
_MOST_TRIES = 10_000


def _median(digits: list[int]) -> int:
    middle = sorted(digits)
    return (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) // 2


def listops(
    num_rows: int,
    *,
    min_length: int = 8,
    max_length: int = 64,
    max_depth: int = 4,
    max_args: int = 5,
    seed: int = 0,
) -> list[Row]:
    """Rows with `tokens`, `text`, `label` (the digit) and `depth`; no two are alike.

    Args:
        num_rows: how many.
        min_length: tokens of the shortest sequence.
        max_length: tokens of the longest.
        max_depth: lists in lists.
        max_args: most arguments of an operation; the least is 2.
        seed: of the draws.

    Raises:
        UserError: too few sequences have such lengths and depths.
    """
    if max_args < 2 or max_depth < 1 or not 4 <= min_length <= max_length:
        raise UserError(
            "ListOps needs max_depth >= 1, max_args >= 2 and 4 <= min_length <= max_length, not"
            f" {max_depth}, {max_args}, {min_length} and {max_length}"
        )
    rng = random.Random(f"listops-{seed}")
    seen: set[str] = set()
    rows: list[Row] = []
    tries = 0
    while len(rows) < num_rows:
        tokens, value, depth = _list(rng, max_depth, max_args)
        text = " ".join(tokens)
        tries += 1
        if min_length <= len(tokens) <= max_length and text not in seen:
            seen.add(text)
            rows.append({"tokens": tokens, "text": text, "label": value, "depth": depth})
            tries = 0
        elif tries == _MOST_TRIES:
            raise UserError(
                f"of {_MOST_TRIES} sequences none was new and {min_length} to {max_length} tokens"
                " long: widen min_length and max_length, or raise max_depth or max_args"
            )
    return rows


def _list(rng: random.Random, depth: int, max_args: int) -> tuple[list[str], int, int]:
    """Tokens, value and depth of a random list."""
    name = rng.choice(list(OPERATIONS))
    tokens, digits, deepest = [name], [], 0
    for _ in range(rng.randint(2, max_args)):
        if depth > 1 and rng.random() < _OPERATION_PROB:
            inner, digit, below = _list(rng, depth - 1, max_args)
            tokens += inner
            deepest = max(deepest, below)
        else:
            digit = rng.randint(0, 9)
            tokens.append(str(digit))
        digits.append(digit)
    return [*tokens, END], OPERATIONS[name](digits), deepest + 1
