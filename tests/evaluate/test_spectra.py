"""What weights are like."""

import pytest
import torch

from pretrial.evaluate.spectra import effective_rank


def test_effective_rank() -> None:
    assert effective_rank(torch.eye(5)) == pytest.approx(5.0, rel=1e-4)
    assert effective_rank(torch.ones(4, 6)) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.zeros(3, 3)) == 0
    assert 1 < effective_rank(torch.diag(torch.tensor([4.0, 1.0]))) < 2
