"""Counts of short runs of bytes."""

from __future__ import annotations

import numpy as np

from pretrial.data.cleaning.byte_grams import byte_grams


def test_vectors_tell_how_a_text_looks() -> None:
    vectors = byte_grams(["abcd", "abcd", "abce", "", "x"], 256)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0, 1], rtol=1e-6)
    assert (vectors[0] == vectors[1]).all()
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[4] + 0.3


def test_counts_are_square_roots_of_runs() -> None:
    vector = byte_grams(["aaab"], 1 << 16, sizes=(1,))[0]
    np.testing.assert_allclose(sorted(vector[vector > 0] ** 2), [0.25, 0.75], rtol=1e-6)
    both = byte_grams(["aaab"], 1 << 16, sizes=(1, 2))[0]
    assert (both > 0).sum() == 4  # a, b, aa, ab
