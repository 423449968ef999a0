"""Budgets and their parts."""

from __future__ import annotations

import pytest

from pretrial.errors import UserError
from pretrial.train.budget import Budget


def test_budgets_add_up() -> None:
    parts = Budget(11).split([0.5, 0.5, 0.5, 0.5])
    assert [part.amount for part in parts] == [3, 3, 2, 3]
    assert [part.amount for part in Budget(9.0, "seconds").split([1, 2])] == [3.0, 6.0]
    with pytest.raises(UserError, match="shared out over 2 stages"):
        Budget(1).split([0.5, 0.5])
