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


def test_units_are_read() -> None:
    for text, wanted in (
        ("10min", Budget(600, "seconds")),
        ("10m", Budget(600, "seconds")),
        ("2h", Budget(7200, "seconds")),
        ("3epochs", Budget(3, "epochs")),
        ("1epoch", Budget(1, "epochs")),
        ("2e6tokens", Budget(2e6, "tokens")),
    ):
        assert Budget.parse(text) == wanted
    for text in ("0epochs", "-1min", "nanh", "infsteps", "min", "3 parsecs"):
        with pytest.raises(UserError, match="a positive number and a unit, such as 10min"):
            Budget.parse(text)
