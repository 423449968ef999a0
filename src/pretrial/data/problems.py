"""Programming problems with tests: the one form into which every layout is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pretrial.data.literals import from_json, to_json

Kind = Literal["call", "stdin", "assert"]


@dataclass(frozen=True)
class Tests:
    """Tests of one problem.

    Attributes:
        kind: "call" (a function is called and its value compared; where the program defines a class
            `Solution`, the function may be its method), "stdin" (the program reads standard input
            and its output is compared) or "assert" (a script that runs after the program and
            raises if it is wrong).
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

    def to_row(self) -> dict[str, Any]:
        """A form that JSON keeps exactly: tuples, sets and keys that are not text included."""
        return {
            "kind": self.kind,
            "function": self.function,
            "inputs": [to_json(item) for item in self.inputs],
            "outputs": [to_json(item) for item in self.outputs],
            "script": self.script,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Tests:
        """The inverse of `to_row`."""
        inputs, outputs = (
            tuple(from_json(item) for item in row.get(name) or ()) for name in ("inputs", "outputs")
        )
        if len(inputs) != len(outputs):
            raise ValueError(f"{len(inputs)} inputs but {len(outputs)} outputs")
        if row["kind"] not in ("call", "stdin", "assert"):
            raise ValueError(f"tests are of kind call, stdin or assert, not {row['kind']!r}")
        return cls(row["kind"], row.get("function") or "", inputs, outputs, row.get("script") or "")


@dataclass(frozen=True)
class Problem:
    """A programming problem.

    Attributes:
        id: unique in its data set.
        question: the statement. For `style="completion"` it is the head of a program (signature and
            docstring) and a solution is that head followed by what the model writes.
        tests: the hidden tests, for training signal and scoring.
        examples: the tests that the statement itself shows; None where it shows none.
        solutions: reference programs, as `program` takes them (for a completion without the head);
            may be empty, as tests alone are enough for RL.
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

    def to_row(self) -> dict[str, Any]:
        """A row of our own JSON lines layout."""
        return {
            "id": self.id,
            "question": self.question,
            "tests": self.tests.to_row(),
            "examples": self.examples.to_row() if self.examples else None,
            "solutions": list(self.solutions),
            "starter_code": self.starter_code,
            "difficulty": self.difficulty,
            "style": self.style,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Problem:
        """The inverse of `to_row`; fields other than id, question and tests may be missing."""
        style: Any = row.get("style") or "question"
        if style not in ("question", "completion"):
            raise ValueError(f"style is question or completion, not {style!r}")
        return cls(
            id=str(row["id"]),
            question=row["question"],
            tests=Tests.from_row(row["tests"]),
            examples=Tests.from_row(row["examples"]) if row.get("examples") else None,
            solutions=tuple(row.get("solutions") or ()),
            starter_code=row.get("starter_code") or "",
            difficulty=row.get("difficulty") or "",
            style=style,
        )
