"""Tests of a program: what it is called with, and what must come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pretrial.sandbox.asserts import Parts, take_apart
from pretrial.sandbox.literals import from_json, list_of, to_json

Kind = Literal["call", "stdin", "assert"]


@dataclass(frozen=True)
class Tests:
    """Tests of one problem.

    Attributes:
        kind: "call" (a function is called and its value compared), "stdin" (the program reads
            standard input and its output is compared) or "assert" (a script that runs after the
            program and raises if it is wrong; each assert that compares a value of the program with
            a constant is a test of its own, and what is left of the script is one more). Where the
            program defines a class `Solution`, the function of a call may be its method, and the
            names that LeetCode gives to such a program, those of `typing` among them, are there
            without an import.
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
        return len(self.inputs) if self.parts is None else len(self.parts)

    @property
    def parts(self) -> Parts | None:
        """An assert script as it is run, see `pretrial.sandbox.asserts`; None for other kinds."""
        return take_apart(self.script, self.function) if self.kind == "assert" else None

    @property
    def shares_process(self) -> bool:
        """Whether something is checked within the program's process, which could forge a pass.

        So it is for assert scripts that cannot be taken apart, wholly or in part.
        """
        return self.parts is not None and self.parts.rest

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
            tuple(from_json(item) for item in list_of(row.get(name), name))
            for name in ("inputs", "outputs")
        )
        if len(inputs) != len(outputs):
            raise ValueError(f"{len(inputs)} inputs but {len(outputs)} outputs")
        if row["kind"] not in ("call", "stdin", "assert"):
            raise ValueError(f"tests are of kind call, stdin or assert, not {row['kind']!r}")
        return cls(row["kind"], row.get("function") or "", inputs, outputs, row.get("script") or "")
