"""Tests as they travel with the data of trainers: as objects, as JSON, or as asserts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pretrial.data.problems.apps import apps_tests
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox.literals import read_json
from pretrial.sandbox.tests import Tests

FORMS = (
    'a Tests, a Problem, asserts as a text or a list of texts, {"kind": ...} as as_json writes it,'
    ' {"inputs": [...], "outputs": [...]} with or without "fn_name", a list of {"input", "output"},'
    " or the JSON of one of these"
)


def as_json(tests: Tests) -> str:
    """Tests as a text that a column of a data set can hold; `read_tests` reads it."""
    return json.dumps(tests.to_row(), ensure_ascii=False)


def read_tests(value: Any) -> Tests:
    """The tests in a cell of a data set.

    Args:
        value: in any of the forms that `FORMS` names.

    Raises:
        UserError: it is in none of them, or holds no test.
    """
    # one object for one text: the sandbox then sends it to a worker once
    tests = _of_text(value) if isinstance(value, str) else _tests(value)
    if not len(tests):
        raise UserError(
            "there are no tests: leave the problem out (pretrial audit FILE finds such problems)"
        )
    return tests


@lru_cache(maxsize=4096)
def _of_text(text: str) -> Tests:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _tests(read_json(text))
        except json.JSONDecodeError as error:
            if "assert" not in text:
                raise UserError(f"tests are not JSON: {error}") from error
    if text.strip() and "assert" not in text and "check(" not in text:
        raise UserError(f"tests are neither JSON nor asserts: {text!r:.60}; give {FORMS}")
    return Tests("assert", script=text)


def _tests(value: Any) -> Tests:
    if isinstance(value, Tests):
        return value
    if isinstance(value, Problem):
        return value.tests
    if hasattr(value, "tolist"):  # an array, as parquet is read by pandas
        value = value.tolist()
    try:
        if isinstance(value, Mapping):
            return _of_mapping(value)
        if isinstance(value, list | tuple):
            return _of_list(value)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"tests cannot be read ({error}): give {FORMS}") from error
    raise UserError(f"tests cannot be a {type(value).__name__}: give {FORMS}")


def _of_mapping(value: Mapping[str, Any]) -> Tests:
    if "kind" in value:
        return Tests.from_row(dict(value))
    if "inputs" in value and "outputs" in value:
        return apps_tests(dict(value))
    raise UserError(f"tests have the fields {', '.join(map(str, value))[:80]}: give {FORMS}")


def _of_list(items: list[Any] | tuple[Any, ...]) -> Tests:
    if all(isinstance(item, str) for item in items):
        return Tests("assert", script="\n".join(items))
    if all(isinstance(item, Mapping) and {"input", "output"} <= item.keys() for item in items):
        if any(item.get("testtype", "stdin") != "stdin" for item in items):
            raise UserError("tests of functions name the function: give inputs, outputs, fn_name")
        return Tests(
            "stdin",
            inputs=tuple(str(item["input"]) for item in items),
            outputs=tuple(str(item["output"]) for item in items),
        )
    raise UserError(f"a list of tests holds {items[0]!r:.40}: give {FORMS}")
