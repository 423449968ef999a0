"""Few labels: copies and voices stay together, and what is said of each example."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pretrial.compare.kit import few_labels
from pretrial.compare.trial import Items

pytest.importorskip("sklearn")


def test_copies_of_an_image_share_its_side_and_its_label() -> None:
    found = few_labels.split("builtin:digits?size=8&shift=1&copies=3", 20, 100)
    known = [row for row in found.train if "label" in row]
    assert len(known) == 20 * 3
    assert len({row["original"] for row in known}) == 20
    assert len(found.test) == len({row["original"] for row in found.test}) == 100
    assert not {row["original"] for row in found.train} & {row["original"] for row in found.test}
    assert len(found.train) == 3 * 1697


def test_items_of_a_voice_and_copies_are_groups() -> None:
    log_probs = np.log([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]])
    alone = few_labels.scored(log_probs, [0, 0, 0], [{}, {}, {}])
    assert alone["nll"] == pytest.approx([-np.log(0.5), -np.log(0.9), -np.log(0.2)])
    assert alone["accuracy"] == [1.0, 1.0, 0.0]
    for name in ("voice", "original"):
        found = few_labels.scored(log_probs, [0, 0, 0], [{name: 1}, {name: 1}, {name: 2}])
        assert found["nll"] == Items(alone["nll"], [1, 1, 2])


def test_linear_classifiers_read_sequences_of_any_kind(tmp_path) -> None:
    images = few_labels.split("builtin:digits", 100, 100)
    assert few_labels.sequence_vectors(images.test).shape == (100, 64)
    assert np.mean(few_labels.plain_scores(images, few_labels.sequence_vectors)["accuracy"]) > 0.7
    signals = [{"signal": [0, 1, 2]}, {"signal": np.arange(5)}]
    assert few_labels.sequence_vectors(signals)[:, -1].tolist() == [2, 4]
    tokens = [{"tokens": "a b a"}, {"tokens": ["b", "a", "a"]}, {"tokens": "a b b"}]
    counts = few_labels.sequence_vectors(tokens)
    assert (counts[0] == counts[1]).all()
    assert (counts[0] != counts[2]).any()
    assert few_labels.sequence_vectors([{"text": "aab"}])[0, ord("a")] == 2
    assert json.dumps(counts.tolist())
