"""The functions that networks approximate."""

import pytest
import torch

from pretrial.compare.kit.smooth_functions import TARGETS


def test_targets_are_what_they_say() -> None:
    x = torch.tensor([[0.5, -0.5, 0.25]])
    assert float(TARGETS[0](x)) == pytest.approx(-(0.5**0.5), rel=1e-5)
    assert float(TARGETS[1](x)) == pytest.approx(1 / (1 + 25 * 0.5625 / 3), rel=1e-5)
    assert float(TARGETS[2](x)) == pytest.approx(0.125 + 0.125 + 0.25 - 0.25, rel=1e-5)
