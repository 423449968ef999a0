"""The layout of QuixBugs: which lines are wrong, and rows that a repair can start from."""

from __future__ import annotations

import pytest

from pretrial.data.problems.quixbugs import changed_lines
from pretrial.data.reading.sources import load

WRONG = '''def gcd(a, b):
    if b == 0:
        return a
    else:
        return gcd(a % b, b)


"""
Greatest Common Divisor
    >>> gcd(35, 21)
"""
'''
RIGHT = """
def gcd(a, b):
    if b == 0:  # the end
        return a
    else:
        return gcd(b, a % b)

"""


@pytest.fixture
def folder(tmp_path):
    for name, text in (
        ("python_programs/gcd.py", WRONG),
        ("python_programs/node.py", "class Node:\n    pass\n"),
        ("python_programs/same.py", "x = 1\n"),
        ("correct_python_programs/gcd.py", RIGHT),
        ("correct_python_programs/same.py", "x = 1  # still\n"),
        ("python_testcases/test_gcd.py", "def test():\n    pass\n"),
        ("python_testcases/test_same.py", "def test():\n    pass\n"),
        ("json_testcases/gcd.json", "[[35, 21], 7]\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_rows_are_the_programs_that_differ_and_have_tests(folder):
    [row] = load(folder)
    assert row["name"] == "gcd"
    assert row["tree"] == str(folder)
    assert row["hunks"] == ["python_programs/gcd.py:5"]
    assert row["command"].endswith("python_testcases/test_gcd.py")
    assert row["fixed"] == {"python_programs/gcd.py": RIGHT}


@pytest.mark.parametrize(
    ("wrong", "right", "lines"),
    [
        ("a = 1\nb = 2\nc = 3\n", "a = 1\nb = 3\nc = 3\n", ["2"]),
        ("a = 1\nb = 2\nc = 3\n", "a = 1\nb = 3\nc = 4\n", ["2-3"]),
        ("a = 1\nb = 2\nc = 3\n", "a = 0\nb = 2\nc = 0\n", ["1", "3"]),
        ("a = 1\n# c = 3\nc = 3\n", "a = 1\nb = 2\nc = 3\n", ["+2"]),
        ("c = 3\n", "b = 2\nc = 3\n", ["+1"]),
        ("a = 1\nb = 2\n", "a = 1\n", ["2"]),
        ("a = 1  # one\n\n", "\na = 1\n", []),
        ('f("""\nx\n""")\n', 'f("""\ny\n""")\n', ["2"]),
    ],
)
def test_lines_that_differ(wrong, right, lines):
    assert changed_lines(wrong, right) == lines
