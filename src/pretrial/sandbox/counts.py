"""How many tests passed and failed, read from what a test command prints."""

from __future__ import annotations

import re
from typing import NamedTuple


class Counts(NamedTuple):
    """Tests of one run.

    Attributes:
        passed: tests that ran and were right.
        failed: tests that ran and were wrong, errors included.
        whole: False where tests could not even be collected, so that others are missing.
    """

    passed: int
    failed: int
    whole: bool = True


# Repeats are bounded, since a program may print anything: unbounded, some would take the square of
# the length of its output.
_PYTEST = re.compile(r"^=*[ ]?((?:\d{1,9} [a-z]+(?:, )?)+) in [\d.]+s\b.*$", re.M)
_UNITTEST = re.compile(
    r"^Ran (\d{1,9}) tests? in .*\n\s*(?:OK|FAILED|NO TESTS RAN)(?: \((.*)\))?", re.M
)
_TAP = re.compile(r"^(not )?ok\b(?! +# )", re.M)
_GO = re.compile(r"^[ \t]{0,80}--- (PASS|FAIL):", re.M)
# Lines in which one tool sums up; `total` counts all tests, the failed ones included.
_SUMMARIES = (
    # Maven, JUnit's own runner
    r"Tests run:\s*(?P<total>\d{1,9}),\s*Failures:\s*(?P<failed>\d{1,9})"
    r"(?:,\s*Errors:\s*(?P<errors>\d{1,9}))?(?:,\s*Skipped:\s*(?P<skipped>\d{1,9}))?",
    r"^OK \((?P<total>\d{1,9}) tests?\b.*\)",  # JUnit, PHPUnit
    r"(?P<total>\d{1,9}) tests? completed(?:, (?P<failed>\d{1,9}) failed)?",  # Gradle
    r"^Tests:\s+(?:(?P<failed>\d{1,9}) failed, )?(?:\d{1,9} \w+, )*?"
    r"(?:(?P<passed>\d{1,9}) passed, )?\d{1,9} total",
    r"^Tests: (?P<total>\d{1,9}), Assertions: \d{1,9}(?:, Errors: (?P<errors>\d{1,9}))?"
    r"(?:, Failures: (?P<failed>\d{1,9}))?",  # PHPUnit; the line above is Jest's
    r"(?P<passed>\d{1,9}) passing\b(?:[^\n]{0,80}\s{1,20}(?P<failed>\d{1,9}) failing\b)?",  # Mocha
    r"^(?P<total>\d{1,9}) examples?, (?P<failed>\d{1,9}) failures?",  # RSpec
    r"^test result: \w+\. (?P<passed>\d{1,9}) passed; (?P<failed>\d{1,9}) failed",  # Cargo
)
_SUMMARIES_READ = [re.compile(pattern, re.M) for pattern in _SUMMARIES]
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def count_tests(output: str) -> Counts | None:
    """The counts that the output of a test command ends with; None where it names none.

    Known are the summaries of pytest, unittest, TAP, Go, Maven, Gradle, JUnit, PHPUnit, Jest,
    Mocha, RSpec and Cargo.
    """
    output = _COLOUR.sub("", output)
    return _pytest(output) or _unittest(output) or _summary(output) or _listed(output)


def _pytest(output: str) -> Counts | None:
    found = _PYTEST.findall(output)
    if not found:
        return None
    numbers = {word: int(number) for number, word in re.findall(r"(\d{1,9}) ([a-z]+)", found[-1])}
    failed = sum(numbers.get(word, 0) for word in ("failed", "error", "errors"))
    broken = re.search(
        r"errors? during collection|^ERROR collecting|_ ERROR collecting", output, re.M
    )
    return Counts(numbers.get("passed", 0) + numbers.get("xfailed", 0), failed, not broken)


def _unittest(output: str) -> Counts | None:
    found = _UNITTEST.findall(output)
    if not found:
        return None
    total, remarks = int(found[-1][0]), dict(re.findall(r"(\w{1,20})=(\d{1,9})", found[-1][1]))
    failed = int(remarks.get("failures", 0)) + int(remarks.get("errors", 0))
    passed = max(0, total - failed - int(remarks.get("skipped", 0)))
    return Counts(passed, failed, "unittest.loader._FailedTest" not in output)


def _summary(output: str) -> Counts | None:
    for pattern in _SUMMARIES_READ:
        found = list(pattern.finditer(output))
        if found:
            numbers = {name: int(text or 0) for name, text in found[-1].groupdict().items()}
            failed = numbers.get("failed", 0) + numbers.get("errors", 0)
            left = numbers.get("total", 0) - failed - numbers.get("skipped", 0)
            return Counts(numbers.get("passed") or max(0, left), failed)
    return None


def _listed(output: str) -> Counts | None:
    """Tools that print a line for each test."""
    for pattern, wrong in ((_GO, "FAIL"), (_TAP, "not ")):
        marks = pattern.findall(output)
        if marks:
            failed = marks.count(wrong)
            return Counts(len(marks) - failed, failed)
    return None
