"""The summary of an accuracy matrix."""

import pytest

from pretrial.errors import UserError
from pretrial.evaluate.forgetting import summarise


def test_a_matrix_worked_out_by_hand():
    summary = summarise([[0.8, 0.1, 0.2], [0.5, 0.9, 0.3], [0.6, 0.7, 1.0]])
    assert summary.final == pytest.approx(2.3 / 3)
    assert summary.incremental == pytest.approx((0.8 + 0.7 + 2.3 / 3) / 3)
    assert summary.by_domain == pytest.approx((0.2, 0.2))
    assert summary.forgetting == pytest.approx(0.2)
    assert summary.backward_transfer == pytest.approx(-0.2)


def test_a_model_that_never_changes_forgets_nothing():
    summary = summarise([[0.4, 0.6, 0.1]] * 3)
    assert summary.forgetting == summary.backward_transfer == 0


def test_gains_on_old_domains_show():
    summary = summarise([[0.4, 0.0], [0.7, 0.5]])
    assert summary.backward_transfer == pytest.approx(0.3)
    assert summary.forgetting == pytest.approx(-0.3)


def test_one_domain_and_bad_matrices():
    assert summarise([[0.7]]).final == 0.7
    assert summarise([[0.7]]).forgetting == 0
    for matrix, word in (([[1, 2]], "shape"), ([], "shape"), ([[1, float("nan")]] * 2, "missing")):
        with pytest.raises(UserError, match=word):
            summarise(matrix)
