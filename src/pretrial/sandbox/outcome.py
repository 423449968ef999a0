"""What came of a program: the outcome classes and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar


class Outcome(IntEnum):
    """The classes of CodeRL, in its order (arXiv 2207.01780, section 3.2), and one more.

    A program without tests is UNTESTED, never passed. COMPILE_ERROR means that `compile()` fails;
    an exception at import is a RUNTIME_ERROR, as are the time limit, the memory limit, a signal and
    an exit before the answer.
    """

    UNTESTED = -1
    COMPILE_ERROR = 0
    RUNTIME_ERROR = 1
    FAILED_TEST = 2
    PASSED_TEST = 3


@dataclass(frozen=True)
class TestResult:
    """What came of one test.

    Attributes:
        outcome: its class; UNTESTED where the test was not run.
        subtype, message, line: as in a `Verdict`.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest makes of the name

    outcome: Outcome
    subtype: str = ""
    message: str = ""
    line: int | None = None

    @property
    def passed(self) -> bool:
        """It was run and is right."""
        return self.outcome is Outcome.PASSED_TEST


PASSED = TestResult(Outcome.PASSED_TEST)
NOT_RUN = TestResult(Outcome.UNTESTED, "not_run", "the program had ended before")


@dataclass(frozen=True)
class Verdict:
    """The judgement on one program.

    Attributes:
        outcome: the class. Of several tests that went wrong the first one decides.
        subtype: "" or what went wrong: an exception's name, `timeout`, `memory`, `signal`,
            `output_limit`, `exit` or `wrong_answer`.
        message: the exception's text, or a sentence; may quote the program's output.
        line: line of the program that raised (1-based), or None.
        tests: one bool per test that was run, True = passed. Of an assert script each assert that
            could be taken out is a test, and all that is left of it is one.
        cpu_seconds, wall_seconds: summed over all the processes the program needed.
        isolation: the level in force: `namespaces`, `rlimits` or `none`.
        phase: where an exception came from: `compile`, `load` (import of the program), `test`, or
        "".
        shares_process: whether a test was checked within the program's own process, as an assert
            script is that cannot be taken apart: a dishonest program could forge a pass there.
        faults: what went wrong in each test that did, by its place in `tests`; empty if the runner
            stops at the first. `to_dict` leaves it out.
    """

    outcome: Outcome
    subtype: str = ""
    message: str = ""
    line: int | None = None
    tests: tuple[bool, ...] = ()
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    isolation: str = ""
    phase: str = ""
    shares_process: bool = False
    faults: dict[int, TestResult] = field(default_factory=dict, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """Every test was run and is right."""
        return self.outcome is Outcome.PASSED_TEST

    def to_dict(self) -> dict[str, Any]:
        """A dict that JSON can hold; the outcome by its name."""
        data = {**asdict(self), "outcome": self.outcome.name, "tests": list(self.tests)}
        del data["faults"]
        return data

    def trace(self, num_tests: int) -> tuple[TestResult, ...]:
        """What came of each of the `num_tests` tests, in their order."""
        whole = TestResult(self.outcome, self.subtype, self.message, self.line)
        found = [
            PASSED if right else self.faults.get(place, whole)
            for place, right in enumerate(self.tests)
        ]
        if len(found) > num_tests:  # an assert script went wrong after its last test
            found[num_tests - 1 :] = found[-1:]
        rest = whole if self.phase in ("compile", "load") else NOT_RUN
        return (*found, *[rest] * (num_tests - len(found)))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        """The verdict that `to_dict` made `data` of."""
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        return cls(
            **{
                **known,
                "outcome": Outcome[data["outcome"]],
                "tests": tuple(data.get("tests", ())),
            }
        )
