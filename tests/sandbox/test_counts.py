"""The counts of test tools, from outputs in their form."""

from __future__ import annotations

import pytest

from pretrial.sandbox.counts import Counts, count_tests

OUTPUTS = {
    "pytest": ("F.\nFAILED t.py::test_a\n2 failed, 3 passed, 1 skipped in 0.83s\n", (3, 2)),
    "pytest-framed": ("===== 1 failed, 2 passed, 1 xfailed in 61.20s (0:01:01) =====\n", (3, 1)),
    "pytest-colour": ("\x1b[31m\x1b[1m1 failed\x1b[0m, 2 passed\x1b[31m in 0.01s\x1b[0m\n", (2, 1)),
    "pytest-error": ("1 passed, 1 error in 0.1s\n", (1, 1)),
    "unittest": ("..\n-----\nRan 2 tests in 0.001s\n\nOK\n", (2, 0)),
    "unittest-bad": (
        "Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=1, skipped=1)\n",
        (2, 2),
    ),
    "go": ("--- PASS: TestA (0.00s)\n    --- FAIL: TestB/x (0.00s)\nFAIL\n", (1, 1)),
    "maven": (
        "Tests run: 2, Failures: 0, Errors: 0, Skipped: 0\n"
        "Tests run: 9, Failures: 2, Errors: 1, Skipped: 1\n",
        (5, 3),
    ),
    "junit": ("OK (4 tests)\n", (4, 0)),
    "gradle": ("5 tests completed, 2 failed\n", (3, 2)),
    "phpunit": ("Tests: 5, Assertions: 9, Errors: 1, Failures: 1.\n", (3, 2)),
    "jest": ("Tests:       1 failed, 1 skipped, 5 passed, 7 total\n", (5, 1)),
    "jest-good": ("Tests:       6 passed, 6 total\n", (6, 0)),
    "mocha": ("  5 passing (10ms)\n  2 failing\n", (5, 2)),
    "rspec": ("5 examples, 2 failures\n", (3, 2)),
    "cargo": ("test result: FAILED. 3 passed; 1 failed; 0 ignored\n", (3, 1)),
    "tap": ("TAP version 13\nok 1 - a\nnot ok 2 - b\nok 3 - c # skip\n1..3\n", (2, 1)),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_counts_of(name):
    output, expected = OUTPUTS[name]
    assert count_tests(output) == Counts(*expected)


def test_the_last_summary_counts():
    assert count_tests("1 passed in 0.1s\nagain\n1 failed in 0.1s\n") == Counts(0, 1)


def test_what_could_not_be_collected_is_told():
    text = "___ ERROR collecting tests/t.py ___\n!!! Interrupted: 1 error during collection !!!\n"
    assert count_tests(text + "1 error in 0.91s\n") == Counts(0, 1, whole=False)
    text = "ERROR: t (unittest.loader._FailedTest.t)\nRan 1 test in 0.0s\n\nFAILED (errors=1)\n"
    assert count_tests(text) == Counts(0, 1, whole=False)


@pytest.mark.parametrize("text", ["", "all is well\n", "it took 3 passed years in all\n"])
def test_other_output_has_no_counts(text):
    assert count_tests(text) is None


@pytest.mark.parametrize(
    "piece", ["\n", " ", "9", "a", "=", "ok ", "1 a", "1 passed", "Ran 1 test in 1s\nOK (", "\x1b["]
)
def test_a_megabyte_of_anything_is_read_in_no_time(piece):
    # A pattern that takes the square of the length would need hours.
    count_tests("1 passing" + piece * (10**6 // len(piece)))
    count_tests(piece * (10**6 // len(piece)) + "1 tests completed")
