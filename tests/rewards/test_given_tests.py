"""The forms in which tests come with data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.rewards import as_json, read_tests
from pretrial.sandbox.tests import Tests

CALL = Tests("call", "add", ([1, 2], [3, 4]), (3, (7,)))
ASSERTS = ["assert add(1, 2) == 3", "assert add(3, 4) == 7"]
APPS = {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}
PRINTED = {"inputs": ["1 2\n"], "outputs": ["3\n"]}
LISTED = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]


@pytest.mark.parametrize(
    ("value", "tests"),
    [
        (CALL, CALL),
        (Problem("x", "Add.", CALL), CALL),
        (CALL.to_row(), CALL),
        (as_json(CALL), CALL),
        ("\n".join(ASSERTS), Tests("assert", script="\n".join(ASSERTS))),
        (ASSERTS, Tests("assert", script="\n".join(ASSERTS))),
        (json.dumps(ASSERTS), Tests("assert", script="\n".join(ASSERTS))),
        (np.array(ASSERTS), Tests("assert", script="\n".join(ASSERTS))),
        (APPS, Tests("call", "add", ([1, 2],), (3,))),
        (json.dumps(PRINTED), Tests("stdin", inputs=("1 2\n",), outputs=("3\n",))),
        (json.dumps(LISTED), Tests("stdin", inputs=("1 2\n",), outputs=("3\n",))),
        ({**APPS, "kind": "call", "function": "add", "script": None}, None),
    ],
)
def test_forms(value, tests):
    found = read_tests(value)
    assert len(found) > 0
    if tests is not None:
        assert found == tests


def test_a_text_gives_one_object_however_often_it_comes():
    assert read_tests(as_json(CALL)) is read_tests(as_json(CALL))


@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, "", "text", "{", "[1, 2]", "[]", {}, [], [{"input": 1}], [*LISTED, 1]),
        *({"kind": "odd"}, {"inputs": 3, "outputs": 4}),
        {"kind": "call", "inputs": [1], "outputs": []},
        [{**LISTED[0], "testtype": "functional"}],
    ],
)
def test_what_is_none_of_them_gets_one_sentence(value):
    with pytest.raises(UserError) as caught:
        read_tests(value)
    assert "\n" not in str(caught.value)
