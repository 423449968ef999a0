"""Epochs of fine-tuning: all examples, batches of like length, another order each time."""

from __future__ import annotations

import numpy as np

from pretrial.bases.plain.epochs import Epochs


def test_every_epoch_holds_all_examples_in_batches_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 70).tolist()
    examples = [(f"text {number}", length) for number, length in enumerate(lengths)]
    epochs = Epochs(examples, lengths, 8, 3, seed=0)
    assert epochs.steps_per_epoch == 9
    assert len(epochs) == 3 * 72
    seen = [epochs[i] for i in range(len(epochs))]
    for epoch in range(3):
        own = seen[epoch * 72 : (epoch + 1) * 72]
        assert set(own) == set(examples)
        spreads = [np.ptp([length for _, length in own[i : i + 8]]) for i in range(0, 72, 8)]
        assert np.mean(spreads) < 20  # of 99
    assert seen[:72] != seen[72:144]
    # a run that goes on finds any place again
    again = Epochs(examples, lengths, 8, 3, seed=0)
    assert [again[i] for i in (200, 3, 100)] == [seen[i] for i in (200, 3, 100)]
