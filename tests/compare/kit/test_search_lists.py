"""Lists to choose from: words first, and what a model adds to them."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("bm25s")
pytest.importorskip("sklearn")

from pretrial.compare.kit import search_lists
from pretrial.compare.kit.search_lists import lists_of

NOUNS = [first + rest for first in "bdfkm" for rest in ("anel", "orin", "ubat", "ilos")]
ROWS = [
    {
        "text": f"Return the {noun} of a path.",
        "code": f"def f(x):\n    return x.{noun}",
        "module": f"m{place // 2}",
    }
    for place, noun in enumerate(NOUNS)
]
#: No word of a text stands in its code.
MUTE = [{**row, "code": f"x = {number}"} for number, row in enumerate(ROWS)]


def test_the_right_code_is_first_and_no_other_is_it():
    lists = lists_of(ROWS, ROWS)
    assert lists.candidates.shape == (20, 16)
    assert lists.words.shape == (2, 20, 16)
    assert lists.candidates[:, 0].tolist() == list(range(20))
    assert all(len(set(row)) == 16 for row in lists.candidates.tolist())
    assert lists.groups == [row["module"] for row in ROWS]
    assert (lists.candidates == lists_of(ROWS, ROWS).candidates).all()


def test_words_tell_where_there_are_any():
    halves = [lists_of(ROWS, ROWS)] * 2
    found = search_lists.measure(None, halves)
    assert found.keys() == {"search_nll", "search_mrr"}
    assert sum(found["search_mrr"].values) == 20
    mute = search_lists.measure(None, [lists_of(MUTE, MUTE)] * 2)
    assert sum(mute["search_nll"].values) / 20 == pytest.approx(math.log(16), abs=1e-4)


def test_a_model_that_knows_the_answer_gains_and_one_that_knows_nothing_does_not_lose():
    halves = [lists_of(MUTE, MUTE)] * 2

    def knowing(lists):
        scores = torch.zeros(1, 20, 16)
        scores[:, ::2, 0] = 1.0  # of every other list
        return scores

    found = search_lists.measure(knowing, halves)
    assert sum(found["search_nll"].values) / 20 < 0.55 * math.log(16)
    assert found["own_nll"].values == pytest.approx(found["search_nll"].values, abs=1e-3)
    assert found["search_nll"].groups == halves[1].groups
    alike = search_lists.measure(lambda lists: torch.ones(1, 20, 16), [lists_of(ROWS, ROWS)] * 2)
    words = search_lists.measure(None, [lists_of(ROWS, ROWS)] * 2)
    assert alike["search_nll"].values == pytest.approx(words["search_nll"].values, abs=1e-3)
