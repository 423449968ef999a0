"""The area under the ROC curve."""

from __future__ import annotations

import pytest

from pretrial.errors import UserError
from pretrial.evaluate.auc import roc_auc


def test_pairs_are_counted() -> None:
    positive, negative = [0.9, 0.5, 0.5, 0.1], [0.5, 0.3, 0.0]
    pairs = [(a > b) + (a == b) / 2 for a in positive for b in negative]
    assert roc_auc(positive, negative) == pytest.approx(sum(pairs) / 12)
    assert roc_auc([2.0], [1.0]) == 1.0
    assert roc_auc([1.0, 1.0], [1.0]) == 0.5


def test_both_classes_are_needed() -> None:
    with pytest.raises(UserError, match="both classes"):
        roc_auc([], [1.0])
