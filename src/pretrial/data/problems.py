"""Programming problems with tests: the one form into which every layout is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["call", "stdin", "assert"]


@dataclass(frozen=True)
class Tests:
    """Tests of one problem.

    Attributes:
        kind: "call" (a function is called and its value compared), "stdin" (the program reads
            standard input and its output is compared) or "assert" (a script that runs after the
            program and raises if it is wrong).
        function: name of the function called, or of the entry point of an assert script.
        inputs: one item a test. "call": the list of arguments. "stdin": the text.
        outputs: one item a test. "call": the value. "stdin": the text.
        script: the assert script; empty for the other kinds.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    kind: Kind
    function: str = ""
    inputs: tuple[Any, ...] = ()
    outputs: tuple[Any, ...] = ()
    script: str = ""

    def __len__(self) -> int:
        return 1 if self.kind == "assert" and self.script.strip() else len(self.inputs)


@dataclass(frozen=True)
class Problem:
    """A programming problem.

    Attributes:
        id: unique in its data set.
        question: the statement. For `style="completion"` it is the head of a program (signature and
            docstring) and a solution is that head followed by what the model writes.
        tests: the hidden tests, for training signal and scoring.
        examples: the tests that the statement itself shows; None where it shows none.
        solutions: reference programs; may be empty (tests alone are enough for RL).
        starter_code: code that a solution starts from, or "".
        difficulty: as the data set names it, or "".
        style: "question" (statement in, whole program out) or "completion".
    """

    id: str
    question: str
    tests: Tests
    examples: Tests | None = None
    solutions: tuple[str, ...] = ()
    starter_code: str = ""
    difficulty: str = ""
    style: Literal["question", "completion"] = "question"

    def program(self, text: str) -> str:
        """The runnable program for what the model wrote."""
        return self.question + text if self.style == "completion" else text
