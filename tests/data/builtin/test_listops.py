"""ListOps: answers, sizes, splits."""

from __future__ import annotations

import statistics

import pytest

from pretrial.data.builtin.catalogue import builtin
from pretrial.data.builtin.listops import listops
from pretrial.errors import UserError


def answer(text: str) -> int:
    """The value of an expression, by turning it into Python."""
    names = {"[MIN": "min([", "[MAX": "max([", "[MED": "middle([", "[SM": "last(["}
    words = [names.get(word, "])," if word == "]" else f"{word},") for word in text.split()]
    scope = {
        "middle": lambda digits: int(statistics.median(digits)),
        "last": lambda digits: int(str(sum(digits))[-1]),
    }
    return eval("".join(words), scope)[0]


def test_answers_agree_with_an_independent_evaluator() -> None:
    rows = listops(300, max_length=100, max_depth=5, seed=3)
    assert [row["label"] for row in rows] == [answer(row["text"]) for row in rows]
    assert len({row["label"] for row in rows}) == 10


def test_sizes_are_kept_and_no_two_are_alike() -> None:
    rows = listops(400, min_length=10, max_length=20, max_depth=3, max_args=4)
    assert len({row["text"] for row in rows}) == 400
    for row in rows:
        assert row["text"].split() == row["tokens"]
        assert 10 <= len(row["tokens"]) <= 20
        open_lists, deepest = 0, 0
        for token in row["tokens"]:
            open_lists += token.startswith("[") - (token == "]")
            deepest = max(deepest, open_lists)
        assert (open_lists, deepest) == (0, row["depth"])
        assert row["depth"] <= 3


def test_the_seed_decides() -> None:
    assert listops(20, seed=1) == listops(20, seed=1)
    assert listops(20, seed=1) != listops(20, seed=2)


def test_builtin_splits_share_nothing() -> None:
    options = {"num_train": 100, "num_test": 50, "max_length": 20}
    train = {row["text"] for row in builtin("listops", **options)}
    test = {row["text"] for row in builtin("listops", split="test", **options)}
    assert (len(train), len(test), len(train & test)) == (100, 50, 0)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="widen min_length"):
        listops(1, min_length=60, max_length=64, max_depth=1, max_args=3)
    with pytest.raises(UserError, match="max_args >= 2"):
        listops(1, max_args=1)
