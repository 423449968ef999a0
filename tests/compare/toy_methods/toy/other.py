"""A method of another ability: it cannot be compared with a line."""

from __future__ import annotations

import dataclasses

from pretrial import discover
from pretrial.card import Card

CARD = Card(
    slug="other",
    title="Another",
    authors="Nobody",
    year=2025,
    arxiv="",
    summary="Is measured otherwise.",
    baseline="a line",
    abilities=("guess",),
    fields=(),
    claims=(),
)

_line = discover.load("line")


class Other(_line.method):
    """A line again."""


def trial(steps=120):
    """Is it measured otherwise?"""
    line = _line.trial(steps=steps)
    own = [dataclasses.replace(arm, method="other") for arm in line.arms if arm.method]
    changed = {"arms": tuple(own), "claims": (), "metric": "accuracy", "direction": "higher"}
    return dataclasses.replace(line, **changed)
