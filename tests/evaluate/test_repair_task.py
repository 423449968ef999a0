"""The task of repair, on a method that answers from a table."""

from __future__ import annotations

import pytest

from pretrial.errors import UserError
from pretrial.evaluate.repair import measure_repair
from pretrial.evaluate.tasks import evaluate


class Table:
    """Answers as rows say."""

    def read(self, rows):
        return [row["answer"] for row in rows]

    def repair(self, examples, *, max_validations, num_patches, seconds, isolation):
        assert (max_validations, num_patches, seconds) == (7, 1, 2.0)
        assert isolation in ("auto", "rlimits")
        for before, plausible, identical, validations in examples:
            patches = [{"plausible": plausible, "identical": identical}] if validations else []
            yield {
                "failing_before": before,
                "plausible": plausible,
                "validations": validations,
                "patches": patches,
            }


ROWS = [
    {"answer": (2, True, True, 3), "fixed": {"a": "x"}},
    {"answer": (1, True, False, 5), "fixed": {"a": "x"}},
    {"answer": (1, False, True, 7), "fixed": {"a": "x"}},  # identical, but tests fail: not counted
    {"answer": (0, False, None, 0), "fixed": {"a": "x"}},
]


def test_the_level_of_isolation_reaches_the_ability():
    evaluate("repair", Table(), ROWS, max_validations=7, seconds=2.0, isolation="rlimits")
    with pytest.raises(AssertionError):
        evaluate("repair", Table(), ROWS, max_validations=7, seconds=2.0, isolation="namespaces")


def test_shares_of_bugs():
    result = evaluate("repair", Table(), ROWS, max_validations=7, seconds=2.0)
    assert result.items["plausible"] == [1.0, 1.0, 0.0, 0.0]
    assert result.items["identical"] == [1.0, 0.0, 0.0, 0.0]
    assert result.metrics["validations"].value == pytest.approx(15 / 4)
    assert result.notes["num_without_failing_tests"] == 1


def test_without_known_fixes_nothing_is_called_identical():
    rows = [{"answer": row["answer"]} for row in ROWS]
    result = measure_repair(Table(), rows, max_validations=7, seconds=2.0)
    assert "identical" not in result.metrics


def test_no_bugs_are_refused():
    with pytest.raises(UserError, match="no bugs"):
        measure_repair(Table(), [])
