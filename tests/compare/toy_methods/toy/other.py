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


def trial():
    """Is it measured otherwise?"""
    return dataclasses.replace(_line.trial(), metric="accuracy", direction="higher")
