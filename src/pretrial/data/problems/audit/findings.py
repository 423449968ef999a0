"""What an audit finds."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["wrong", "weak"]

#: Every check: how bad it is, and what it means, as the report says it.
CHECKS: dict[str, tuple[Severity, str]] = {
    "unreadable": ("wrong", "rows that cannot be read as problems"),
    "no_tests": ("wrong", "problems without tests"),
    "reference_fails": ("wrong", "references that fail their own tests"),
    "trivial_passes": ("wrong", "problems that an empty or constant program passes"),
    "nothing_killed": ("wrong", "problems whose tests find no bug in the reference"),
    "time": ("wrong", "problems whose verdict hangs on the clock"),
    "order": ("wrong", "problems whose verdict hangs on the order of the tests"),
    "hash_seed": ("wrong", "problems whose verdict hangs on the order of sets (the hash seed)"),
    "chance": ("wrong", "problems whose verdict hangs on random numbers"),
    "contradiction": ("wrong", "problems with two answers to one input"),
    "duplicate_id": ("wrong", "ids that come twice"),
    "duplicate": ("wrong", "problems that come twice, word for word"),
    "near_duplicate": ("weak", "problems whose statement is nearly that of another"),
    "same_tests": ("weak", "problems with the tests of another"),
    "repeated_test": ("weak", "problems with a test that comes twice"),
    "no_reference": ("weak", "problems without a reference: mutants are not looked at"),
    "mutant_passes": ("weak", "bugs in references that the tests do not find, or that are none"),
    "can_be_forged": ("weak", "problems with asserts that share the program's process"),
    "slow": ("weak", "references that need more than a quarter of the time limit"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        problem: its id.
        check: a key of `CHECKS`.
        message: a sentence.
        program: that shows it, or "".
    """

    problem: str
    check: str
    message: str
    program: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return CHECKS[self.check][0]


@dataclass
class Report:
    """What came of an audit.

    Attributes:
        num_problems: that were looked at, those without tests included.
        num_references: problems with a reference that passes.
        mutants: by the id of a problem: (tried, killed).
        seconds: that it took.
        findings: in the order of the problems.
    """

    num_problems: int = 0
    num_references: int = 0
    mutants: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def add(self, problem: str, check: str, message: str, program: str = "") -> None:
        """Keep a finding."""
        self.findings.append(Finding(problem, check, " ".join(message.split()), program))

    @property
    def wrong(self) -> list[Finding]:
        """What has to be mended."""
        return [each for each in self.findings if each.severity == "wrong"]

    @property
    def weak(self) -> list[Finding]:
        """What one should know."""
        return [each for each in self.findings if each.severity == "weak"]

    def counts(self) -> dict[str, int]:
        """Findings by check, in the order of `CHECKS`."""
        found = Counter(each.check for each in self.findings)
        return {check: found[check] for check in CHECKS if found[check]}

    def to_dict(self) -> dict[str, Any]:
        """A dict that JSON can hold."""
        tried, killed = (sum(pair[n] for pair in self.mutants.values()) for n in (0, 1))
        return {
            "problems": self.num_problems,
            "references": self.num_references,
            "wrong": len(self.wrong),
            "weak": len(self.weak),
            "mutants": {"tried": tried, "killed": killed},
            "mutants_by_problem": {name: [*pair] for name, pair in self.mutants.items()},
            "seconds": round(self.seconds, 2),
            "findings": [{**asdict(each), "severity": each.severity} for each in self.findings],
        }
