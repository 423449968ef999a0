"""The linear probe: its log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from pretrial.evaluate.probe import probe_log_probs


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_log_probabilities_of_a_probe_are_finite_however_far_off_a_vector_is():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    vectors = rng.normal(size=(60, 4)) + 3 * labels[:, None]
    test = 5000 * rng.normal(size=(40, 4))  # so that probabilities are 0
    found = probe_log_probs(vectors, labels.tolist(), test, 3)
    assert found.shape == (40, 3)
    assert np.isfinite(found).all()
    assert found.min() < -700
    assert np.exp(found).sum(1) == pytest.approx(np.ones(40))
