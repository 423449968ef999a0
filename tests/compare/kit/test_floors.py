"""Trivial answers are what their formulas say."""

from __future__ import annotations

import math

import pytest

from pretrial.compare.kit.floors import ByteTrigrams, trigram_arm
from pretrial.compare.trial import Context, Data
from pretrial.evaluate.perplexity import bits_per_byte


def test_probabilities_by_hand() -> None:
    counted = ByteTrigrams(["ab"])
    nll, sizes = counted.nll(["a"])
    # one of two bytes, one of one after \0 and after \0\0
    one = (1 + 2 / 256) / (2 + 2)
    two = (1 + 1 * one) / (1 + 1)
    three = (1 + 1 * two) / (1 + 1)
    assert nll == [pytest.approx(-math.log(three))]
    assert sizes == [1]


def test_probabilities_sum_to_one() -> None:
    import numpy as np

    counted = ByteTrigrams(["some text, and some more", "ünï"])
    sums = np.exp(-counted._nll).sum(axis=-1)
    assert sums.min() == pytest.approx(1.0)
    assert sums.max() == pytest.approx(1.0)


def test_an_arm_is_measured_like_a_language_model() -> None:
    rows = [{"text": "the cat sat on the mat. " * 20}]
    arm = trigram_arm()
    assert arm.run is not None
    counted = arm.run(Context(None, Data(train=rows), None))  # type: ignore[arg-type]
    known, unknown = bits_per_byte(counted, ["the cat sat on the mat.", "zzqxjkvbzq"])
    assert known < 2 < 8 < unknown + 3
