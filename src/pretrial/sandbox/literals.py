"""Python values as text and as JSON: the arguments and results of tests.

Python reads and prints integers of at most 4,300 digits, since longer ones take it quadratic time.
Tests hold longer ones; they are read here in pieces.
"""

from __future__ import annotations

import ast
import io
import itertools
import json
import tokenize
from threading import Lock
from typing import Any

_MOST_DIGITS = 4000  # that Python is given at once
_MOST_BITS = 13_000  # of integers that JSON holds as they are: about so many digits
_TAGS = {"tuple": tuple, "set": set, "frozenset": frozenset}

_parsing = Lock()


def parse_literal(text: str) -> Any:
    """The value of a Python or JSON literal.

    Raises:
        ValueError: the text is not a literal.
    """
    words = {"true": True, "false": False, "null": None}
    if text.strip() in words:
        return words[text.strip()]
    try:
        return ast.literal_eval(parse_python(text.strip(), "eval"))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a literal: {text[:80]!r}") from error


def parses(text: str) -> bool:
    """Whether a text is Python as it stands."""
    with _parsing:
        try:
            ast.parse(text)
        except SyntaxError:
            return False
    return True


def parse_python(text: str, mode: str = "exec") -> ast.AST:
    """The syntax tree of a text, whose integers may have any number of digits.

    Raises:
        SyntaxError, ValueError, MemoryError, RecursionError: as `ast.parse`.
    """
    # CPython 3.11 counts the depth of a tree for all threads together, and says SystemError
    with _parsing:
        try:
            return ast.parse(text, mode=mode)
        except SyntaxError:
            shorter = short_numbers(text)
            if shorter == text:
                raise
            return ast.parse(shorter, mode=mode)


def short_numbers(text: str) -> str:
    """Python whose integers of many digits are hexadecimal, which has no limit; lines stay."""
    lines = [*io.StringIO(text)]
    try:
        for token in reversed([*tokenize.generate_tokens(io.StringIO(text).readline)]):
            if token.type == tokenize.NUMBER and len(token.string) > _MOST_DIGITS:
                digits = token.string.replace("_", "")
                if digits.isdecimal() and digits[0] != "0":
                    (row, start), (_, end) = token.start, token.end
                    line = lines[row - 1]
                    lines[row - 1] = f"{line[:start]}{whole_number(digits):#x} {line[end:]}"
    except (tokenize.TokenError, SyntaxError, IndexError):
        return text
    return "".join(lines)


def whole_number(digits: str) -> int:
    """The value of a decimal number, with or without a sign.

    Raises:
        ValueError: it is none.
    """
    if len(digits) <= _MOST_DIGITS:
        return int(digits)
    if digits[0] in "+-":
        value = whole_number(digits[1:])
        return -value if digits[0] == "-" else value
    half = len(digits) // 2
    return whole_number(digits[:half]) * 10 ** (len(digits) - half) + whole_number(digits[half:])


def read_json(text: str) -> Any:
    """The value of a JSON text, whose integers may have any number of digits.

    Raises:
        ValueError, RecursionError: as `json.loads`.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=whole_number)


def list_of(value: Any, name: str) -> list[Any]:
    """A list as tables keep it: itself, an array, or its text as csv and pandas write it.

    Args:
        value: what the table holds. Where that is nothing, the list is empty; a text that has no
            brackets is the one item of a list.
        name: what a message calls it.

    Raises:
        ValueError: it is something else, such as half of a list's text.
    """
    if is_missing(value):
        return []
    if hasattr(value, "tolist"):  # an array of numpy
        value = value.tolist()
    if isinstance(value, str):
        if value.lstrip()[0] not in "[(":
            return [value]
        try:
            value = _parsed(value)
        except ValueError as error:
            raise ValueError(f"{name} is a text that is no list: {value!r:.60}") from error
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} is no list: {value!r:.60}")
    return list(value)


def object_of(value: Any, name: str) -> dict[str, Any]:
    """An object as tables keep it: itself, or its text; an empty one where it is missing.

    Raises:
        ValueError: it is something else.
    """
    if is_missing(value):
        return {}
    found = _parsed(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not an object: {value!r:.60}")
    return found


def text_of(value: Any) -> str:
    """A text, which is empty where it is missing."""
    return "" if is_missing(value) else str(value)


def is_missing(value: Any) -> bool:
    """Whether a table holds nothing there: None, an empty text, or not a number."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and value != value)


def _parsed(text: str) -> Any:
    """The value of JSON, or of a literal as Python and numpy print it."""
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] not in ("[", "(", "{"):
            raise
        try:
            return parse_literal(_with_commas(text))
        except (ValueError, tokenize.TokenError, SyntaxError):
            raise error from None


def _with_commas(text: str) -> str:
    """The list with commas between its texts, which numpy prints without: ['a' 'b']."""
    lines = [*io.StringIO(text.strip())]
    tokens = [*tokenize.generate_tokens(io.StringIO(text.strip()).readline)]
    kinds = (tokenize.NL, tokenize.COMMENT)
    tokens = [token for token in tokens if token.type not in kinds]
    for before, token in reversed([*itertools.pairwise(tokens)]):
        if before.type == token.type == tokenize.STRING:
            row, column = before.end
            lines[row - 1] = f"{lines[row - 1][:column]},{lines[row - 1][column:]}"
    return "".join(lines)


def to_json(value: Any) -> Any:
    """A form of `value` that JSON keeps exactly: what JSON lacks becomes {"py:tuple": [...]} etc.

    Raises:
        ValueError: a type that is not a literal.
    """
    if value is None or type(value) in (bool, float, str):
        return value
    if type(value) is int:
        return value if value.bit_length() <= _MOST_BITS else {"py:int": hex(value)}
    if type(value) is list:
        return [to_json(item) for item in value]
    if type(value) is dict:
        if all(type(key) is str and not key.startswith("py:") for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return {"py:dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
    for name, cls in _TAGS.items():
        if type(value) is cls:
            items = sorted(value, key=repr) if name != "tuple" else value
            return {f"py:{name}": [to_json(item) for item in items]}
    if type(value) in (bytes, complex):
        return {"py:literal": repr(value)}
    raise ValueError(f"a test holds a {type(value).__name__}, which is not a literal")


def from_json(value: Any) -> Any:
    """The inverse of `to_json`."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, items), *_ = value.items()
        if tag == "py:dict":
            return {from_json(key): from_json(item) for key, item in items}
        if tag == "py:literal":
            return ast.literal_eval(items)
        if tag == "py:int":
            return int(items, 16)
        if tag.removeprefix("py:") in _TAGS and tag.startswith("py:"):
            return _TAGS[tag.removeprefix("py:")](from_json(items))
    return {key: from_json(item) for key, item in value.items()}
