"""Moved images: where they are and how they are turned, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from pretrial.data.builtin.catalogue import builtin
from pretrial.data.builtin.moved import moved
from pretrial.data.reading.sources import load
from pretrial.errors import UserError

DOT = [{"image": np.full((4, 4), 200, np.uint8), "label": 1}, {"image": np.eye(4) * 200}]


def test_what_is_not_turned_stands_in_the_middle_or_as_far_from_it_as_said() -> None:
    [still, _] = moved(DOT, 12, turn=0, shift=0)
    rows, columns = np.nonzero(still["image"])
    assert (rows.mean(), columns.mean()) == (5.5, 5.5)
    assert still["image"].shape == (12, 12)
    assert (still["label"], still["original"]) == (1, 0)
    found = [row["image"] for row in moved(DOT[:1], 12, turn=0, shift=2, copies=50)]
    middles = np.array([np.argwhere(image > 100).mean(0) for image in found]) - 5.5
    assert 1 < np.abs(middles).max() <= 2.5


def test_copies_are_different_and_name_their_original() -> None:
    rows = moved(DOT, 8, turn=30, shift=1, copies=3)
    assert [row["original"] for row in rows] == [0, 1] * 3
    assert len({row["image"].tobytes() for row in rows}) == 6
    again = moved(DOT, 8, turn=30, shift=1, copies=3)
    assert all((a["image"] == b["image"]).all() for a, b in zip(rows, again, strict=True))
    with pytest.raises(UserError, match="copies 0 must be at least 1"):
        moved(DOT, 8, turn=30, shift=1, copies=0)


def test_digits_can_be_moved_and_their_copies_stay_in_one_split() -> None:
    pytest.importorskip("sklearn")
    parts = [
        builtin("digits", split=split, size=12, shift=2, copies=2)
        for split in ("train", "test", "valid")
    ]
    numbers = [{row["number"] for row in part} for part in parts]
    assert not numbers[0] & numbers[1]
    assert sum(map(len, parts)) == 2 * 1797
    assert parts[0][0]["image"].shape == (12, 12)
    assert "original" not in builtin("digits")[0]


def test_options_may_be_decimals_and_a_word_for_a_number_is_refused() -> None:
    pytest.importorskip("sklearn")
    assert load("builtin:digits?shift=0.5&size=9")[0]["image"].shape == (9, 9)
    with pytest.raises(UserError, match="turn is a number, not 'left'"):
        load("builtin:digits?turn=left")
