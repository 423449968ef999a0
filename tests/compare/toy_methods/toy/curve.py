"""A second method of the same ability, without a class of its own work: a line at half the rate."""

from __future__ import annotations

import dataclasses

from pretrial import discover
from pretrial.card import Card, Field

CARD = Card(
    slug="curve",
    title="A slower line",
    authors="Nobody",
    year=2025,
    arxiv="",
    summary="Fits y = a x + b at another rate.",
    baseline="a line",
    abilities=("predict",),
    fields=(Field("x", "the input"), Field("y", "the output")),
    claims=(),
)

_line = discover.load("line")


class Curve(_line.method):
    """A line again."""


def trial(*, steps: int = 30):
    """Is it as good?

    Args:
        steps: the budget.
    """
    trial = _line.trial(steps=steps)
    arm = dataclasses.replace(trial.arms[0], name="curve", label="slower line", method="curve")
    claims = (("curve", "flat", "error", "lower"),)
    return dataclasses.replace(trial, arms=(arm, *trial.arms[1:]), claims=claims)
