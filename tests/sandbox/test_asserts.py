"""Assert scripts taken apart: what is turned, what is left, and that verdicts stay Python's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrial.sandbox import Limits, Runner
from pretrial.sandbox.asserts import take_apart
from pretrial.sandbox.expected import Says
from pretrial.sandbox.tests import Tests

# In assert_scripts.txt: "## name | what the right f(x, y) returns | asserts that are taken out",
# with "and more" where something is left of the script, and then the script.
SCRIPTS = {}
for entry in (Path(__file__).parent / "assert_scripts.txt").read_text().split("## ")[1:]:
    head, script = entry.split("\n", 1)
    name, right, count = head.split(" | ")
    SCRIPTS[name] = (right, script.rstrip(), int(count.split()[0]), "more" in count)
WHOLE = [name for name, row in SCRIPTS.items() if not row[3]]
CLASS = """
class Box:
    def __init__(self, value):
        self.value = value

    def get(self):
        return self.value

    def plus(self, other):
        return self.value + other
"""
LIAR = """
def always(value):
    return lambda *_, **__: value


names = "eq ne lt le gt ge contains add radd sub rsub mul rmul xor rxor mod neg abs getitem bool"
anything = {f"__{name}__": always(True) for name in names.split()}
Liar = type("Liar", (), {**anything, "__call__": lambda self, *_, **__: self})
Liar.__sub__ = Liar.__rsub__ = Liar.__add__ = Liar.__abs__ = Liar.__getitem__ = Liar.__call__
Liar.__getattr__ = Liar.__call__
Liar.__len__ = Liar.__index__ = Liar.__hash__ = always(1)
Liar.__iter__ = lambda self: iter([])
Liar.__class__ = property(lambda self: int)


class Count(int):
    __eq__ = __ge__ = __le__ = __lt__ = __gt__ = always(True)
    __ne__ = always(False)
    __hash__ = int.__hash__


class Text(str):
    __eq__ = __contains__ = __ge__ = __le__ = __lt__ = __gt__ = always(True)
    __hash__ = str.__hash__


def f(*_, **__):
    return KIND


class Box(Liar):
    def __init__(self, *_):
        pass
"""


def program(right):
    return f"COUNT = []\n{CLASS}\n\ndef f(x, y=0):\n    return {right}\n"


def passes_alone(text, script):
    """What Python itself says: the script raises nothing after the program."""
    space = {"__name__": "program"}
    try:
        exec(f"{text}\n{script}", space)
        if "def check(" in script and "check(f)" not in script and "check(wrap)" not in script:
            space["check"](space["f"])
        for name in [name for name in space if name.startswith("test_")]:
            space[name]()
    except ModuleNotFoundError:
        raise
    except Exception:
        return False
    return True


@pytest.fixture(scope="module")
def runner():
    with Runner(workers=1, stop_at_first=False) as runner:
        yield runner


def judged(runner, text, script):
    [verdict] = runner.run([(text, Tests("assert", "f", script=script))], Limits(seconds=10))
    return verdict


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_taken_out_and_what_is_left(name, runner):
    right, script, count, more = SCRIPTS[name]
    parts = take_apart(script, "f")
    assert len(parts.says) == count, parts
    assert parts.rest is more
    tests = Tests("assert", "f", script=script)
    assert tests.shares_process is more
    assert len(tests) == count + more
    verdict = judged(runner, program(right), script)
    assert verdict.passed, verdict
    assert verdict.tests == (True,) * (count + more)
    assert verdict.shares_process is more


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in ("imports", "future")])
def test_verdicts_are_those_of_python(name, runner):
    right, script, *_ = SCRIPTS[name]
    for value in (right, "None", "-5", "[]", "'no'", "(1, 2)", "1.5", "{3}", "True", "1 / 0"):
        verdict = judged(runner, program(value), script)
        assert verdict.passed == passes_alone(program(value), script), (value, verdict)


# A condition is met by whatever is true, which is no lie.
@pytest.mark.parametrize("name", [name for name in WHOLE if name != "conditions"])
@pytest.mark.parametrize("kind", ["Liar()", "Count(-7)", "Text('?')"])
def test_objects_that_lie_pass_no_script_that_is_taken_apart(name, kind, runner):
    verdict = judged(runner, LIAR.replace("KIND", kind), SCRIPTS[name][1])
    assert not verdict.passed, verdict


def test_expected_values_are_not_in_what_is_sent():
    script = "def check(c):\n    assert c('in') == 'secret'\n    assert 'hidden' == c(1)  # so\n"
    parts = take_apart(script, "f")
    assert "secret" not in parts.script
    assert "hidden" not in parts.script
    assert "'in'" in parts.script
    assert parts.says == (Says("==", "secret"), Says("==", "hidden"))


def test_each_assert_counts_and_the_first_fault_decides(runner):
    script = "\n".join(f"assert f({n}) == {n}" for n in range(5))
    verdict = judged(runner, "def f(n):\n    return [0, 9, 2][n]\n", script)
    assert verdict.tests == (True, False, True, False, False)
    assert (verdict.subtype, verdict.message) == ("wrong_answer", "test 2: got 9, expected 1")
    with Runner(workers=1) as stopping:
        verdict = judged(stopping, "def f(n):\n    return [0, 1][n]\n", script)
    assert verdict.tests == (True, True, False)
    assert (verdict.subtype, verdict.line, verdict.phase) == ("IndexError", 2, "test")


@pytest.mark.parametrize(
    ("text", "script", "subtype", "results"),
    [
        ("def f(n):\n    import os\n    os._exit(0)\n", "assert f(1) == 1", "exit", (False,)),
        ("def f(n):\n    raise SystemExit\n", "assert f(1) == 1", "exit", (False,)),
        ("def f(n): return n\n", "assert f(1) == 1\nf()", "TypeError", (True, False)),
        ("def f(n): return n\n", "assert f(1) == 1\nmissing", "NameError", (True, False)),
        ("f = abs\n", "assert f(1) == 1\nimport no\nno.x", "ModuleNotFoundError", (True, False)),
        ("def f(n): return n\n", "missing()\nassert f(1) == 1", "NameError", (False,)),
        ("def g(n): return n\n", "assert f(1) == 1\nassert f(2) == 2", "NameError", (False, False)),
        ("def f(n): return n\n", "assert f(1) == 1 and", "SyntaxError", (False,)),
        ("x = 1 / 0\n", "assert f(1) == 1", "ZeroDivisionError", (False,)),
        ("def f(n)\n", "assert f(1) == 1", "SyntaxError", (False,)),
    ],
)  # fmt: skip
def test_faults_of_programs_and_scripts(text, script, subtype, results, runner):
    verdict = judged(runner, text, script)
    assert (verdict.subtype, verdict.tests) == (subtype, results), verdict


def test_numbers_of_other_types_are_equal_as_they_are_in_python(runner):
    text = (
        "from decimal import Decimal\nfrom fractions import Fraction\nfrom enum import IntEnum\n"
        "import collections\nE = IntEnum('E', 'A B')\n"
        "Pair = collections.namedtuple('Pair', 'a b')\ndef f(kind):\n    return eval(kind)\n"
    )
    script = """
assert f("Fraction(1, 2)") == 0.5
assert f("Fraction(1, 3)") != 1 / 3
assert f("Decimal('0.5')") == 0.5
assert f("Decimal('1e999999')") > 10
assert f("E.B") == 2
assert f("Pair(1, 2)") == (1, 2)
assert f("bytearray(b'x')") == b"x"
assert f("collections.Counter('aab')") == {"a": 2, "b": 1}
assert f("{1: {Fraction(4, 2)}}") == {1: {2}}
assert f("[frozenset([1]), {2}]") == [{1}, {2}]
"""
    verdict = judged(runner, text, script)
    assert verdict.passed, verdict
    assert passes_alone(text, script)


def test_lines_may_end_as_on_windows_and_in_old_texts(runner):
    for script in (
        "assert f(3) == 3\r\nassert f('\u2028') == '\u2028'\r\n",
        "assert f(3) == 3\rassert f(4) == 4",
    ):
        assert len(take_apart(script, "f").says) == 2
        assert judged(runner, program("x"), script).passed
