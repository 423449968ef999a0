"""The program in an answer."""

from __future__ import annotations

import pytest

from pretrial.rewards import program_in

TWO = "```python\na\n```\ntext\n```python\nb\n```\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("x = 1", "x = 1"),
        ("", ""),
        (TWO, "b\n"),
        ("```\na\n```\n```python\nb\n```\n```\nc\n```", "b\n"),
        ("```\na\n```\n```\nb\n```", "b\n"),
        ("```bash\nls\n```", None),
        ("```bash\nls\n```\n```py\na\n```", "a\n"),
        ("```Python3 title=x\na\n```", "a\n"),
        ("``` {.python}\na\n```", "a\n"),
        ("~~~python\na\n```\n~~~", "a\n```\n"),
        ("````python\n```\na\n```\n````", "```\na\n```\n"),
        ("```python\na", "a"),
        ("```python\nx = '```'\n```", "x = '```'\n"),
        ("1. so\n   ```python\n   if a:\n       b\n   ```\n", "if a:\n    b\n"),
        ("```python\r\na\r\n```\r\n", "a\r\n"),
        ("```python\n```", ""),
        ("say ```x``` here", "say ```x``` here"),
        ("<think>```python\na\n```</think>\n```python\nb\n```", "b\n"),
        ("```python\na\n```</think>nothing", "nothing"),
        ("<think>```python\na\n```", None),
    ],
)
def test_the_last_block_of_python_counts(text, program):
    assert program_in(text) == program


def test_the_first_block_and_none():
    assert program_in(TWO, "first") == "a\n"
    assert program_in(TWO, "none") == TWO
