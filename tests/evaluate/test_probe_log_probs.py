"""Probabilities of a linear probe: they sum to one, and few labels do not make them too sure."""

import math

import numpy as np

from pretrial.evaluate.probe import probe_log_probs


def test_probabilities_sum_to_one_and_classes_never_seen_have_little():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 5))
    labels = (vectors[:, 0] > 0).astype(int).tolist()
    found = np.exp(probe_log_probs(vectors[:40], labels[:40], vectors[40:], 3))
    assert found.shape == (20, 3)
    np.testing.assert_allclose(found[:, :2].sum(1), 1.0, rtol=1e-6)
    assert found[:, 2].max() < 1e-5
    assert (found.argmax(1) == labels[40:]).mean() > 0.8


def test_a_probe_of_noise_knows_that_it_knows_nothing():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(200, 50)), rng.integers(2, size=200)
    found = probe_log_probs(vectors[:60], labels[:60].tolist(), vectors[60:], 2)
    # with scikit-learn's own penalty it is 1.5
    assert -found[np.arange(140), labels[60:]].mean() < math.log(2) + 0.2
