"""Programming problems with tests: the one form into which every layout is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pretrial.sandbox.literals import list_of, object_of, text_of
from pretrial.sandbox.tests import Tests


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
        style: Any = text_of(row.get("style")) or "question"
        examples = object_of(row.get("examples"), "examples")
        if style not in ("question", "completion"):
            raise ValueError(f"style is question or completion, not {style!r}")
        return cls(
            id=str(row["id"]),
            question=row["question"],
            tests=Tests.from_row(object_of(row["tests"], "tests")),
            examples=Tests.from_row(examples) if examples else None,
            solutions=tuple(list_of(row.get("solutions"), "solutions")),
            starter_code=text_of(row.get("starter_code")),
            difficulty=text_of(row.get("difficulty")),
            style=style,
        )
