"""The audit of problems: each fault is found, by its name, and sound problems have none."""

from __future__ import annotations

import ast
import json
import random
import time

import pytest

from pretrial.cli import main
from pretrial.data.problems.audit import audit
from pretrial.data.problems.audit.mutants import mutants
from pretrial.data.problems.audit.shaken import in_reverse
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox import Limits
from pretrial.sandbox.tests import Tests

ADD = "def add(a, b):\n    return a + b\n"
SUM = Tests("call", "add", ([1, 2], [3, 4], [0, 5]), (3, 7, 5))
SOUND = Problem("sound", "Add two numbers.", SUM, solutions=(ADD,))


def call(name, program, inputs, outputs, **more):
    tests = Tests("call", "f", inputs, outputs)
    return Problem(name, f"Do what {name} says to do.", tests, solutions=(program,), **more)


def script(name, program, text):
    tests = Tests("assert", "f", script=text)
    return Problem(name, f"Write the function of {name}.", tests, solutions=(program,))


COUNTER = "seen = []\n\ndef f(x):\n    seen.append(x)\n    return len(seen) + x\n"
NOW = "import datetime\n\ndef f(x):\n    return datetime.date.today().year + x\n"
WORDS = "def f(x):\n    return list(set(x.split())) + [len(x)]\n"
DICE = "import random\n\ndef f(x):\n    return random.randint(0, 10**9) + x\n"
SLOW = "import time\n\ndef f(x):\n    time.sleep(0.6)\n    return x * 2\n"
IDLE = "def f(x):\n    y = x + 1\n    z = x * 2\n"
CHECK = "def check(c):\n    assert c(1) == 2\n    assert c(2) == 4"


def ordered(x):
    """What WORDS gives with the sandbox's hash seed, 0."""
    from pretrial.sandbox import Runner

    tests = Tests("call", "f", ([x],), (None,))
    with Runner(workers=1) as runner:
        [verdict] = runner.run([(WORDS, tests)])
    return ast.literal_eval(verdict.message.split("got ")[1].split(", expected")[0])


def drawn():
    rng = random.Random(0)
    return rng.randint(0, 10**9), rng.randint(0, 10**9)


FAULTY = {
    "no_tests": [Problem("untested", "Nothing.", Tests("call", "f"))],
    "reference_fails": [call("fails", "def f(x):\n    return x\n", ([1], [2]), (1, 3))],
    "trivial_passes": [
        call("same", "def f(x):\n    return x > 0\n", ([1], [2]), (True, True)),
        call("echo", "def f(x):\n    return x\n", ([1], [2]), (1, 2)),
        Problem("mute", "Print nothing.", Tests("stdin", inputs=("1",), outputs=("",))),
        script("asserted", "def f(x):\n    return 7\n", "assert f(1) == 7\nassert f(2) == 7"),
    ],
    "nothing_killed": [call("idle", IDLE, ([1],), (None,))],
    "time": [call("clock", NOW, ([0], [1]), (time.gmtime().tm_year, time.gmtime().tm_year + 1))],
    "order": [
        call("counter", COUNTER, ([1], [2]), (2, 4)),
        script(
            "counter/assert", COUNTER, "def check(c):\n    assert c(1) == 2\n    assert c(2) == 4"
        ),
    ],
    "hash_seed": [call("words", WORDS, (["a bc def gh ij"],), (ordered,))],
    "chance": [call("dice", DICE, ([0], [5]), (drawn()[0], drawn()[1] + 5))],
    "contradiction": [call("two", "def f(x):\n    return x + 1\n", ([1], [2], [1]), (2, 3, 4))],
    "repeated_test": [call("again", "def f(x):\n    return x + 1\n", ([1], [2], [1]), (2, 3, 2))],
    "duplicate_id": [SOUND],
    "duplicate": [Problem("copy", "Add  two numbers. ", SUM, solutions=(ADD,))],
    "same_tests": [Problem("other", "Sum of a and of b.", SUM, solutions=(ADD,))],
    "no_reference": [Problem("open", "Add without help.", SUM)],
    "mutant_passes": [
        call("lax", "def f(x):\n    return x + 1 if x > 0 else 0\n", ([1], [2]), (2, 3))
    ],
    "can_be_forged": [
        script("loop", "def f(x):\n    return x\n", "for n in (f(1), 2):\n    assert f(n) == n\n")
    ],
    "slow": [call("slow", SLOW, ([3],), (6,))],
}


@pytest.fixture(scope="module")
def report():
    problems = [SOUND]
    for group in FAULTY.values():
        for problem in group:
            if problem.id == "words":
                outputs = (ordered("a bc def gh ij"),)
                tests = Tests("call", "f", problem.tests.inputs, outputs)
                problem = Problem("words", problem.question, tests, solutions=problem.solutions)
            problems.append(problem)
    return audit(problems, workers=1, num_mutants=6, limits=Limits(seconds=2.0))


@pytest.mark.parametrize("check", FAULTY)
def test_each_fault_has_its_name(check, report):
    named = {each.problem.split(" (row")[0] for each in report.findings if each.check == check}
    assert {problem.id for problem in FAULTY[check]} <= named, report.findings


def test_a_sound_problem_has_no_finding(report):
    assert [each for each in report.findings if each.problem == "sound"] == []
    tried, killed = report.mutants["sound"]
    assert tried == killed >= 2


def test_what_is_wrong_is_told_from_what_is_weak(report):
    assert {each.check for each in report.weak} <= {
        *("near_duplicate", "same_tests", "repeated_test", "no_reference", "mutant_passes"),
        *("can_be_forged", "slow"),
    }
    assert len(report.wrong) + len(report.weak) == len(report.findings)
    shown = json.loads(json.dumps(report.to_dict()))
    assert shown["problems"] == 1 + sum(map(len, FAULTY.values()))
    assert shown["wrong"] == len(report.wrong)
    assert any("x > 0" in each["program"] for each in shown["findings"])


def test_mutants_are_other_programs_of_all_kinds():
    program = (
        'def f(items, k):\n    """Text 3."""\n    if not items:\n        return 0\n    total = 0\n'
        "    for n in range(k):\n        if items[n] < 10:\n            total += items[n]\n"
        "    return total\n"
    )
    found = mutants(program, 99, random.Random(0))
    assert {"operator", "constant", "off_by_one", "guard", "statement", "identifier"} == {
        mutant.kind for mutant in found
    }
    trees = {ast.dump(ast.parse(mutant.program)) for mutant in found}
    assert len(trees) == len(found) > 20
    assert ast.dump(ast.parse(program)) not in trees
    assert all("Text 3" in mutant.program for mutant in found)
    assert found == mutants(program, 99, random.Random(0))
    late = mutants(program, 99, random.Random(0), program.index("    return total"))
    assert {mutant.line for mutant in late} == {9}
    assert mutants("def f(:", 9, random.Random(0)) == []


def test_tests_in_reverse():
    assert in_reverse(SUM).inputs == ([0, 5], [3, 4], [1, 2])
    text = "x = 1\nassert f(1) == 1\nassert f(2) == 2\n"
    turned = in_reverse(Tests("assert", "f", script=text))
    assert [says.value for says in turned.parts.says] == [2, 1]
    more = Tests("assert", "f", script="assert f(1) == 1\nf(3)\nassert f(2) == 2\n")
    assert in_reverse(more) == more


def test_rows_that_cannot_be_read():
    rows = [SOUND.to_row(), {"id": "bad", "question": "x", "tests": {"kind": "odd"}}]
    report = audit(rows, workers=1, num_mutants=1)
    [finding] = report.wrong
    assert (finding.problem, finding.check) == ("bad", "unreadable")
    for given, words in (([], "no problems"), ([{"text": "x"}], "no known layout")):
        with pytest.raises(UserError, match=words):
            audit(given, workers=1)
    with pytest.raises(UserError, match="'odd'"):
        audit(rows[1:], workers=1)


def test_the_command(tmp_path, capsys):
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    other = Problem("b", "Multiply them.", Tests("call", "m", ([2, 3], [4, 5]), (6, 20)))
    good.write_text("".join(json.dumps(each.to_row()) + "\n" for each in (SOUND, other)))
    lost = FAULTY["reference_fails"][0]
    bad.write_text(json.dumps(lost.to_row()) + "\n")
    assert main(["audit", str(good), "--workers", "1", "--mutants", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 problems, 1 with a reference that passes; 2 of 2 mutants are found (100.0%)" in out
    assert "b: there is no reference" in out
    assert out.endswith("nothing is wrong\n")
    found = tmp_path / "deep" / "found.json"
    assert main(["audit", str(bad), "--workers", "1", "--out", str(found)]) == 1
    assert "test 2: got 2, expected 3" in capsys.readouterr().out
    assert json.loads(found.read_text())["findings"][0]["check"] == "reference_fails"
    good.write_text(f"{good.read_text()}{{broken\n")
    assert main(["audit", str(good), "--workers", "1", "--mutants", "0"]) == 1
    assert "good.jsonl, line 3 is not JSON" in capsys.readouterr().out
    for words in (["audit"], ["audit", str(tmp_path / "none")], ["audit", str(good), "--x"]):
        assert main(words) == 2
    assert main(["audit", str(good), "--seconds", "0"]) == 2
