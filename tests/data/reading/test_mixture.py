"""Mixtures: the right shares, every example at least once, spread evenly."""

import numpy as np
import pytest

from pretrial.data.reading.mixture import Mixture, temperature_weights
from pretrial.errors import UserError


def test_weights_are_the_powers_of_the_shares():
    sizes = [1000, 100, 10]
    expected = np.array(sizes) ** 0.7
    assert temperature_weights(sizes, 0.7) == pytest.approx(list(expected / expected.sum()))
    assert temperature_weights(sizes, 0) == pytest.approx([1 / 3] * 3)
    assert temperature_weights(sizes, 1) == pytest.approx([1000 / 1110, 100 / 1110, 10 / 1110])


def test_every_example_comes_and_parts_have_their_shares():
    parts = [[f"a{i}" for i in range(300)], [f"b{i}" for i in range(20)]]
    weights = temperature_weights([300, 20], 0.5)
    mixture = Mixture(parts, weights)
    drawn = list(mixture)
    assert set(drawn) == {*parts[0], *parts[1]}
    assert len(mixture) == sum(mixture.counts)
    assert mixture.counts[0] == 300
    share = sum(text[0] == "b" for text in drawn) / len(drawn)
    assert share == pytest.approx(weights[1], abs=0.01)
    repeats = [drawn.count(text) for text in parts[1]]
    assert max(repeats) - min(repeats) <= 1
    gaps = np.diff([i for i, text in enumerate(drawn) if text[0] == "b"])
    assert gaps.max() <= 2 * gaps.mean()


def test_slices_and_places():
    mixture = Mixture([[1, 2], [7]], [0.5, 0.5])
    assert [*mixture] == [1, 7, 2, 7]
    assert mixture[1:3] == [7, 2]
    assert mixture.where(3) == (1, 0)


def test_user_mistakes_name_the_mend():
    with pytest.raises(UserError, match="every part of a mixture needs an example"):
        temperature_weights([3, 0])
    with pytest.raises(UserError, match="alpha must be 0 or more"):
        temperature_weights([3], -1)
    with pytest.raises(UserError, match="as many weights above 0"):
        Mixture([[1]], [0.0])
