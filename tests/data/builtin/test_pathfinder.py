"""Pathfinder: what the label says is so in the image."""

from __future__ import annotations

import numpy as np
import pytest

from pretrial.data.builtin.catalogue import builtin
from pretrial.data.builtin.pathfinder import pathfinder
from pretrial.errors import UserError


def is_one_path(image: np.ndarray) -> bool:
    """Whether dashes that nearly touch lead from one dot to the other."""
    lit = image > 0
    dots = np.argwhere(image == 255)
    first = dots[np.abs(dots - dots[0]).max(1) <= 2]
    reached = np.zeros_like(lit)
    reached[tuple(first.T)] = True
    while True:
        near = np.zeros_like(lit)
        for row, column in np.argwhere(reached):  # a gap is one pixel wide
            near[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = True
        grown = reached | (near & lit)
        if (grown == reached).all():
            break
        reached = grown
    return bool(reached[tuple(dots.T)].all())


def test_labels_tell_whether_a_path_leads_from_dot_to_dot() -> None:
    rows = pathfinder(60, size=32, num_distractors=0, seed=2)
    agree = [is_one_path(row["image"]) == bool(row["label"]) for row in rows]
    assert np.mean(agree) > 0.9  # dots are wider than dashes, and may come near the other path
    assert sum(row["label"] for row in rows) == 30


def test_the_amount_of_ink_does_not_tell_the_label() -> None:
    rows = pathfinder(200, seed=1)
    ink = [[(row["image"] > 0).sum() for row in rows if row["label"] == label] for label in (0, 1)]
    assert abs(np.mean(ink[0]) - np.mean(ink[1])) < 1.0


def test_the_seed_decides_and_splits_differ() -> None:
    one, same, other = (pathfinder(4, seed=seed)[3]["image"] for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    train = builtin("pathfinder", num_train=5, num_test=3)
    test = builtin("pathfinder", split="test", num_train=5, num_test=3)
    assert (len(train), len(test)) == (5, 3)
    assert train[0]["image"].shape == (16, 16)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="lower path_length"):
        pathfinder(1, size=16, path_length=32)
    with pytest.raises(UserError, match="size of 12"):
        pathfinder(1, size=8)
