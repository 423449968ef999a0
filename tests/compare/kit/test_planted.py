"""Planted texts are of the kinds that they are said to be, and what was removed is counted."""

from __future__ import annotations

from collections import Counter

from pretrial.compare.kit.planted import KINDS, plant, recall

GOOD = [f"The {i}th good text says something of its own, in some words." for i in range(40)]


def test_half_as_many_bad_texts_in_equal_parts() -> None:
    rows = plant(GOOD)
    counts = Counter(row["kind"] for row in rows)
    assert counts == {"good": 40, **dict.fromkeys(KINDS, 5)}
    assert rows == plant(GOOD)
    assert all(
        set(row["text"]) <= set("#{}[]|<>=~ abcde") for row in rows if row["kind"] == "symbols"
    )


def test_recall_counts_each_text_once() -> None:
    rows = plant(GOOD)
    everything = Counter(row["text"] for row in rows)
    nothing_removed = recall(rows, everything)
    assert nothing_removed == {**{f"{kind}_recall": 0.0 for kind in KINDS}, "good_kept": 1.0}
    left = Counter(row["text"] for row in rows if row["kind"] not in ("symbols", "licence"))
    found = recall(rows, left)
    assert (found["symbols_recall"], found["licence_recall"]) == (1.0, 1.0)
    assert (found["shuffled_recall"], found["good_kept"]) == (0.0, 1.0)
