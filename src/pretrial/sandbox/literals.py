"""Python values as text and as JSON: the arguments and results of tests."""

from __future__ import annotations

import ast
from typing import Any

_TAGS = {"tuple": tuple, "set": set, "frozenset": frozenset}


def parse_literal(text: str) -> Any:
    """The value of a Python or JSON literal.

    Raises:
        ValueError: the text is not a literal.
    """
    words = {"true": True, "false": False, "null": None}
    if text.strip() in words:
        return words[text.strip()]
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a literal: {text[:80]!r}") from error


def to_json(value: Any) -> Any:
    """A form of `value` that JSON keeps exactly: what JSON lacks becomes {"py:tuple": [...]} etc.

    Raises:
        ValueError: a type that is not a literal.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
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
        if tag.removeprefix("py:") in _TAGS and tag.startswith("py:"):
            return _TAGS[tag.removeprefix("py:")](from_json(items))
    return {key: from_json(item) for key, item in value.items()}
