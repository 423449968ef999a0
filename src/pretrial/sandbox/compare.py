"""Is this the expected answer? Two ways: strict, and lenient as APPS was released.

Both work in the host's process on values and text that came over a pipe; the types are those of
`inside.wire`, so no method of the program's own is ever called.
"""

from __future__ import annotations

import math
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation, localcontext
from typing import Any, Literal

from pretrial.errors import UserError

Mode = Literal["strict", "apps"]

REL_TOL, ABS_TOL = 1e-6, 1e-9
_WIDE = Context(prec=30, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def check_mode(mode: str) -> None:
    """Raise UserError unless `mode` is a way of comparing."""
    if mode not in ("strict", "apps"):
        raise UserError(f"compare must be 'strict' or 'apps', not {mode!r}")


def same_value(got: Any, expected: Any, mode: Mode = "strict") -> bool:
    """Is the returned value the expected one?

    strict: equal as Python has it, element by element, with three allowances. Where a float is
    expected, numbers agree within 1e-6 of its size; where an integer is, only what is equal to it
    will do, such as 7.0 for 7. Where a list is expected a tuple will do, because expected values
    read from JSON cannot hold tuples (where a tuple is expected, from literals, only a tuple will
    do). Where a string is expected as a key, a key that prints so will do, for the same reason.

    apps: equal to the expected value or to its first element, once the returned tuple, or the
    tuples in a returned list, are lists and the keys of an expected dict are integers; no
    tolerance.
    """
    try:
        return _same_value_apps(got, expected) if mode == "apps" else _same(got, expected)
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        return False  # some values cannot be compared, such as a signalling nan


def _same(got: Any, expected: Any) -> bool:
    if isinstance(expected, list | tuple):
        kinds = (list, tuple) if isinstance(expected, list) else (tuple,)
        return (
            isinstance(got, kinds) and len(got) == len(expected) and all(map(_same, got, expected))
        )
    if isinstance(expected, dict):
        return isinstance(got, dict) and _same_dict(got, expected)
    if isinstance(expected, float):
        return _is_number(got) and _close(got, expected)
    return bool(got == expected)


def _same_dict(got: dict[Any, Any], expected: dict[Any, Any]) -> bool:
    if len(got) != len(expected):
        return False
    if all(isinstance(key, str) for key in expected):
        got = {_as_text(key): value for key, value in got.items()}
    return got.keys() == expected.keys() and all(
        _same(got[key], value) for key, value in expected.items()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _close(got: float, expected: float) -> bool:
    if got == expected or (got != got and expected != expected):
        return True
    try:
        return math.isclose(got, expected, rel_tol=REL_TOL, abs_tol=ABS_TOL)
    except OverflowError:  # an integer too large for a float
        return False


def _as_text(key: Any) -> Any:
    """A number as JSON writes it where it is a key; giant integers, which do not print, as is."""
    if isinstance(key, float) or (isinstance(key, int) and abs(key) < 1 << 64):
        return str(key)
    return key


def _same_value_apps(got: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        expected = [_int_keys(expected)]
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        expected = [_int_keys(expected[0])]
    got = list(got) if isinstance(got, tuple) else got
    if got == expected:
        return True
    if not isinstance(expected, list) or not expected:
        return False
    rows = got
    if isinstance(got, list) and got and isinstance(got[0], tuple):
        rows = [list(row) if isinstance(row, tuple) else row for row in got]
    return bool(got == expected[0] or rows == expected[0])


def _int_keys(mapping: dict[Any, Any]) -> dict[Any, Any]:
    """JSON made the keys text; where all of them are integers the release undoes that."""
    try:
        return {int(key): value for key, value in mapping.items()}
    except (TypeError, ValueError):
        return mapping


def same_output(got: str, expected: str, mode: Mode = "strict") -> bool:
    """Is the printed text the expected one?

    strict: the same lines, after trailing blank lines are dropped; in a line the same words,
    whatever the space between them. Where a decimal number is expected that has a point or an
    exponent, numbers agree within 1e-6 of its size, whatever that is; where it has neither, it is
    an integer, and of other numbers only one that is equal to it will do, such as 7.0 for 7.

    apps: any of these, in the order of the released code: the same lines without blank ones; all
    numbers, close by `allclose`; the same *set* of lines, each taken as the *set* of its words, so
    order and repeats count for nothing; the same with words rounded to 3 decimals. As there, all
    numbers beyond floats are the same infinity.
    """
    if mode == "apps":
        return _same_output_apps(got, expected)
    lines, wanted = _lines(got), _lines(expected)
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _lines(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_line(got: list[str], expected: list[str]) -> bool:
    return len(got) == len(expected) and all(map(_same_word, got, expected))


def _same_word(got: str, expected: str) -> bool:
    if got == expected:
        return True
    if not (_NUMBER.fullmatch(got) and _NUMBER.fullmatch(expected)):
        return False
    whole, wanted_whole = (not any(sign in word for sign in ".eE") for word in (got, expected))
    if wanted_whole:
        # Two integers are compared as text.
        return not whole and _exact(got) == _exact(expected)
    sizes = float(got), float(expected)
    if any(map(math.isinf, sizes)):
        return _close_decimals(_exact(got), _exact(expected))
    return _close(*sizes)


def _exact(word: str) -> Decimal:
    """The value of a decimal number; not a number if its exponent is beyond all bounds."""
    try:
        return Decimal(word)
    except InvalidOperation:
        return Decimal("nan")


def _close_decimals(got: Decimal, expected: Decimal) -> bool:
    """What `_close` says of floats, for numbers of any size."""
    with localcontext(_WIDE):
        return abs(got - expected) <= Decimal(REL_TOL) * max(abs(got), abs(expected))


def _same_output_apps(got: str, expected: str) -> bool:
    lines = [line.strip() for line in got.splitlines() if line.strip()]
    wanted = [line.strip() for line in expected.splitlines() if line.strip()]
    if lines == wanted:
        return True
    numbers, wanted_numbers = _floats(lines), _floats(wanted)
    if numbers is not None and wanted_numbers is not None and len(numbers) == len(wanted_numbers):
        pairs = zip(numbers, wanted_numbers, strict=True)
        if all(a == b or abs(a - b) <= 1e-8 + 1e-5 * abs(b) < math.inf for a, b in pairs):
            return True  # numpy.allclose with its defaults
    words = {frozenset(line.split()) for line in lines}
    wanted_words = {frozenset(line.split()) for line in wanted}
    if words == wanted_words:
        return True
    rounded, wanted_rounded = _rounded(words), _rounded(wanted_words)
    return rounded is not None and rounded == wanted_rounded


def _floats(lines: list[str]) -> list[float] | None:
    try:
        return [float(line) for line in lines]
    except ValueError:
        return None


def _rounded(lines: set[frozenset[str]]) -> set[frozenset[float]] | None:
    try:
        return {frozenset(round(float(word), 3) for word in line) for line in lines}
    except ValueError:
        return None
