"""Outcomes, messages and lines of ordinary programs, one flat table."""

from __future__ import annotations

import pytest

from pretrial.errors import UserError
from pretrial.sandbox import Limits, Outcome, Runner, Verdict, run_programs
from pretrial.sandbox.tests import Tests

CALL = Tests("call", "add", ([1, 2], [3, 4]), (3, 7))
STDIN = Tests("stdin", inputs=("1 2\n", "3 4\n"), outputs=("3\n", "7\n"))
ASSERT = Tests("assert", "add", script="assert add(1, 2) == 3\nassert add(3, 4) == 7\n")
ADD = "def add(a, b):\n    return a + b\n"

# program, tests, outcome, subtype, words of the message, line, per-test results
TABLE = [
    (ADD, CALL, "PASSED_TEST", "", "", None, (True, True)),
    (
        "class Solution:\n    def add(self, a, b):\n        return a + b\n",
        CALL,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    (
        "add = lambda a, b: a * b + 1\n",
        CALL,
        "FAILED_TEST",
        "wrong_answer",
        "test 2: got 13, expected 7",
        None,
        (True, False),
    ),
    (
        "def add(a, b):\n    return None\n",
        CALL,
        "FAILED_TEST",
        "wrong_answer",
        "got None, expected 3",
        None,
        (False,),
    ),
    (
        "def add(a, b):\n    return str(a + b)\n",
        CALL,
        "FAILED_TEST",
        "wrong_answer",
        "got '3'",
        None,
        (False,),
    ),
    (
        "def add(a, b):\n    c = a\n    return c / 0\n",
        CALL,
        "RUNTIME_ERROR",
        "ZeroDivisionError",
        "division by zero",
        3,
        (False,),
    ),
    (
        "def add(a):\n    return a\n",
        CALL,
        "RUNTIME_ERROR",
        "TypeError",
        "takes 1 positional argument",
        None,
        (False,),
    ),
    (
        "def sub(a, b):\n    return a - b\n",
        CALL,
        "RUNTIME_ERROR",
        "NameError",
        "defines no 'add'",
        None,
        (),
    ),
    (
        "import nothing_of_that_name\n" + ADD,
        CALL,
        "RUNTIME_ERROR",
        "ModuleNotFoundError",
        "nothing_of_that_name",
        1,
        (),
    ),
    ("def add(a, b)\n    return a\n", CALL, "COMPILE_ERROR", "SyntaxError", "expected ':'", 1, ()),
    (
        "def add(a, b):\nreturn a\n",
        CALL,
        "COMPILE_ERROR",
        "IndentationError",
        "expected an indented block",
        2,
        (),
    ),
    ("", CALL, "RUNTIME_ERROR", "NameError", "defines no 'add'", None, ()),
    (
        "a, b = map(int, input().split())\nprint(a + b)\n",
        STDIN,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    (
        "if __name__ == '__main__':\n    print(sum(map(int, input().split())))\n",
        STDIN,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    (
        "import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))\n",
        STDIN,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    (
        "import sys\nprint(sum(map(int, sys.stdin)) if 0 else 3)\nsys.exit()\n",
        STDIN,
        "FAILED_TEST",
        "wrong_answer",
        "test 2: got 3, expected 7",
        None,
        (True, False),
    ),
    (
        "import io, sys, atexit\nout = sys.stdout = io.StringIO()\n"
        "atexit.register(lambda: sys.__stdout__.write(out.getvalue()))\n"
        "print(sum(map(int, input().split())))\n",
        STDIN,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    (
        "f = open(1, 'w', closefd=False)\nf.write(str(sum(map(int, input().split()))))\n",
        STDIN,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    (
        "import threading\nthreading.Thread(target=lambda: "
        "print(sum(map(int, input().split())))).start()\n",
        STDIN,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
    ("pass\n", STDIN, "FAILED_TEST", "wrong_answer", "test 1: got , expected 3", None, (False,)),
    ("x = int('a')\n", STDIN, "RUNTIME_ERROR", "ValueError", "invalid literal", 1, (False,)),
    (
        "print(3)\nraise SystemExit(1)\n",
        STDIN,
        "RUNTIME_ERROR",
        "exit",
        "exit status 1",
        None,
        (False,),
    ),
    ("print(\n", STDIN, "COMPILE_ERROR", "SyntaxError", "was never closed", 1, (False,)),
    (ADD, ASSERT, "PASSED_TEST", "", "", None, (True, True)),
    (
        "def add(a, b):\n    return 3\n",
        ASSERT,
        "FAILED_TEST",
        "wrong_answer",
        "test 2: got 3, expected 7",
        None,
        (True, False),
    ),
    (
        "def add(a, b):\n    assert a > 1, 'too small'\n    return a + b\n",
        ASSERT,
        "RUNTIME_ERROR",
        "AssertionError",
        "too small",
        2,
        (False,),
    ),
    (
        "def add(a, b):\n    while True: pass\n",
        ASSERT,
        "RUNTIME_ERROR",
        "timeout",
        "no answer within 0.5 s",
        None,
        (False,),
    ),
    (
        "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\n"
        "class Pair:\n    a: int\n" + ADD,
        ASSERT,
        "PASSED_TEST",
        "",
        "",
        None,
        (True, True),
    ),
]


@pytest.fixture(scope="module")
def runner():
    with Runner(workers=1) as runner:
        yield runner


@pytest.mark.parametrize("row", TABLE, ids=range(len(TABLE)))
def test_table(row, runner):
    program, tests, outcome, subtype, words, line, results = row
    [verdict] = runner.run([(program, tests)], Limits(seconds=0.5 if subtype == "timeout" else 5))
    assert (verdict.outcome.name, verdict.subtype) == (outcome, subtype), verdict
    assert words in verdict.message
    assert (verdict.line, verdict.tests) == (line, results)
    assert verdict.passed == (outcome == "PASSED_TEST")
    assert verdict.isolation == runner.isolation


def test_no_tests_is_untested_and_never_a_pass(runner):
    scripts = (" \n", "'''Doc.'''\nimport math\n", "def check(f):\n    assert f(1, 2) == 3\n")
    empty = [Tests("call", "add"), Tests("stdin"), *scripts]
    verdicts = runner.run([(ADD, tests) for tests in empty])
    assert [verdict.outcome for verdict in verdicts] == [Outcome.UNTESTED] * 5
    assert not any(verdict.passed for verdict in verdicts)


def test_a_text_in_place_of_tests_is_an_assert_script(runner):
    script = "assert add(1, 2) == 3\nassert add(3, 4) == 7"
    programs = (ADD, "def add(a, b):\n    return 3\n")
    verdicts = runner.run([(program, script) for program in programs])
    assert [verdict.tests for verdict in verdicts] == [(True, True), (True, False)]


def test_all_tests_are_run_on_request():
    tests = Tests("call", "f", ([1], [0], [2], [3]), (1, 0, 2, 4))
    program = "def f(x):\n    return 1 // x and x\n"
    [verdict] = run_programs([(program, tests)], stop_at_first=False, workers=1)
    assert verdict.tests == (True, False, False, False)
    assert verdict.subtype == "ZeroDivisionError"  # the first fault decides
    [verdict] = run_programs([("print(input())", STDIN)], stop_at_first=False, workers=1)
    assert verdict.tests == (False, False)


def test_values_that_json_lacks_cross_the_pipe(runner):
    values = (10**5000, (1, (2, "x")), {1: {2, 3}}, b"\x00\xff", 1 + 2j, "\ud800", None, [[], {}])
    tests = Tests("call", "f", tuple([value] for value in values), values)
    [verdict] = runner.run([("def f(x):\n    return x\n", tests)])
    assert verdict.passed, verdict
    assert len(verdict.tests) == len(values)


def test_integers_of_any_length_are_printed_read_and_taken_apart(runner):
    n = 5000
    jobs = [
        ("print(10 ** 5000)", Tests("stdin", "", ("\n",), ("1" + "0" * n + "\n",))),
        ("print(10 ** 5000 + 1)", Tests("stdin", "", ("\n",), ("1" + "0" * n + "\n",))),
        (
            "print(int(input()) % 7)",
            Tests("stdin", "", ("9" * n + "\n",), (f"{(10**n - 1) % 7}\n",)),
        ),
        ("def f(k): return len(str(10 ** k))", Tests("call", "f", ([n],), (n + 1,))),
        (f"def f(k): return k + {'1' * n}", Tests("call", "f", ([0],), ((10**n - 1) // 9,))),
        ("def f(): return 10 ** 5000", Tests("assert", "f", script=f"assert f() == 1{'0' * n}")),
    ]
    passed = [verdict.passed for verdict in runner.run(jobs, Limits(seconds=10))]
    assert passed == [True, False, True, True, True, True]
    # A program may want the limit that Python has by default.
    limited = "import sys\nsys.set_int_max_str_digits(4300)\nstr(10 ** 5000)\n"
    [verdict] = runner.run([(limited, STDIN)])
    assert verdict.subtype == "ValueError"


def test_a_call_cannot_spoil_the_inputs_of_other_programs(runner):
    tests = Tests("call", "f", ([[1, 2]],), (2,))
    verdicts = runner.run(
        [
            ("def f(x):\n    x.clear()\n    return 2\n", tests),
            ("def f(x):\n    return len(x)\n", tests),
        ]
    )
    assert all(verdict.passed for verdict in verdicts)


def test_hash_seed_and_random_numbers_are_fixed():
    program = "import random\ndef f():\n    return [hash('x'), random.random()]\n"
    tests = Tests("call", "f", ([],), (None,))
    first, second = (run_programs([(program, tests)], workers=1)[0].message for _ in range(2))
    assert first == second
    assert "got [" in first


FORKS = """
import os, random, threading


def add(a, b):
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    before, (read, write) = random.getstate(), os.pipe()
    if os.fork() == 0:
        os.write(write, bytes([threading.active_count(), random.getstate() == before]))
        os._exit(0)
    event.set()
    thread.join()
    return list(os.read(read, 2))
"""


def test_forks_of_programs_forget_threads_and_seed_anew(runner):
    if runner.isolation != "namespaces":
        pytest.skip("without namespaces programs may have no processes of their own")
    [verdict] = runner.run([(FORKS, Tests("call", "add", ([1, 2],), ([1, 0],)))])
    assert verdict.passed, verdict


def test_programs_do_not_wait_for_threads_of_the_preamble():
    preamble = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    program = "import threading\nprint(threading.active_count())\n"
    tests = Tests("stdin", inputs=("",), outputs=("1",))
    [verdict] = run_programs([(program, tests)], preamble=preamble, isolation="rlimits", workers=1)
    assert verdict.passed, verdict


def test_lazy_imports_work_without_privileges(runner):
    program = (
        "import sqlite3, zoneinfo, xml.etree.ElementTree, asyncio, email.mime.text\n"
        "'b\u00fccher'.encode('idna'), 'x'.encode('cp1252'), 'x'.encode('big5')\n" + ADD
    )
    for level in (runner.isolation, "rlimits"):
        [verdict] = run_programs([(program, CALL)], isolation=level, workers=1)
        assert verdict.passed, verdict


def test_preamble_gives_names_and_its_fault_is_the_users():
    program = "def f(x: List[int]) -> int:\n    return gcd(*x)\n"
    tests = Tests("call", "f", ([[4, 6]],), (2,))
    preamble = "from math import gcd\nfrom typing import List"
    [without] = run_programs([(program, tests)], workers=1)
    [with_it] = run_programs([(program, tests)], workers=1, preamble=preamble)
    assert without.subtype == "NameError"
    assert with_it.passed
    with pytest.raises(UserError, match=r"preamble .* raised ZeroDivisionError"):
        run_programs([(program, tests)], workers=1, preamble="1 / 0")


LEETCODE = """
class Solution:
    def merge(self, nums: List[int], target: Optional[int]) -> Dict[int, int]:
        counts: DefaultDict[int, int] = defaultdict(int, Counter(nums))
        return {k: heapq.nlargest(1, [v, inf if target else 0])[0] for k, v in counts.items()}
"""


def test_programs_in_the_style_of_leetcode_find_its_names(runner):
    tests = Tests("call", "merge", ([[1, 1, 2], None],), ({1: 2, 2: 1},))
    asserts = Tests("assert", "Solution", script="assert Solution().merge([5], 0) == {5: 1}")
    wrong = "class Solution:\n    def join(self, nums: List[int]): return {}\n"
    plain = "def merge(nums: List[int], target): return {}\n"
    printed = Tests("stdin", inputs=("",), outputs=("1",))
    jobs = [(LEETCODE, tests), (LEETCODE, asserts), (wrong, tests), (plain, tests)]
    jobs += [(f"{LEETCODE}print(1)", printed), ("class Solution: pass\nmerge = pow", tests)]
    verdicts = runner.run(jobs)
    assert [verdict.passed for verdict in verdicts] == [True, True, *[False] * 4]
    assert [verdict.subtype for verdict in verdicts[2:]] == [
        "AttributeError",  # the names given are not the program's answer
        "NameError",
        "NameError",
        "TypeError",
    ]


def test_verdict_survives_json():
    verdict = Verdict(Outcome.FAILED_TEST, "wrong_answer", "m", 3, (True, False), 0.1, 0.2, "x")
    assert Verdict.from_dict(verdict.to_dict()) == verdict
    assert verdict.to_dict()["outcome"] == "FAILED_TEST"


@pytest.mark.parametrize(
    ("jobs", "options", "words"),
    [
        ([(b"x", CALL)], {}, "must be a str"),
        ([(ADD, CALL)], {"limits": [Limits(), Limits()]}, "1 programs but 2 limits"),
        ([(ADD, CALL)], {"compare": "loose"}, "strict"),
        ([(ADD, CALL)], {"isolation": "namespace"}, "namespaces"),
        ([(ADD, CALL)], {"outcomes": "theirs"}, "apps"),
        ([(ADD, CALL)], {"workers": 0}, "at least 1"),
        ([(ADD, Tests("call", "f", ([1],), ()))], {}, "1 inputs but 0 outputs"),
        ([(ADD, Tests("call", "f", (1,), (1,)))], {}, "list of arguments"),
        ([(ADD, Tests("stdin", "", (1,), ("1",)))], {}, "must be text"),
        ([(ADD, Tests("stdin", "", "12", "12"))], {}, "one item a test, not the str '12'"),
        ([(ADD, Tests("call", "f", {1: 2}, {1: 2}))], {}, "must be a tuple, .* not the dict"),
        ([(ADD, None)], {}, "not NoneType: make one"),
        ([(ADD, ["assert True"])], {}, "text of an assert script, not list"),
        ([ADD], {}, "a pair of a program and its tests, not 'def add"),
    ],
)
def test_the_users_mistakes_are_named(jobs, options, words):
    with pytest.raises(UserError, match=words):
        run_programs(jobs, **{"workers": 1, **options})


def test_limits_that_make_no_sense_are_refused():
    for wrong in ({"seconds": 0}, {"memory_mb": 10}, {"output_kb": 0}, {"processes": -1}):
        with pytest.raises(UserError):
            Limits(**wrong)
