"""A warm-up that the budget cuts off is told of; epochs as a budget."""

from __future__ import annotations

import pytest
from train_toy import Toy, make_data, rows_of

from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.stage import Optim


@pytest.mark.parametrize(
    ("budget", "warmup", "ends"),
    [
        (Budget(6), 10_000, 6),
        (Budget(40, "examples"), 50, 5),
        (Budget(2, "epochs"), 50, 10),
        (Budget(100, "tokens"), 50, 4),  # known at the end alone
        (Budget(6), 6, None),
        (Budget(6), 0.5, None),
        (Budget(1), 1, None),
        (Budget(100, "tokens"), 2, None),
    ],
)
def test_a_lost_warm_up_is_told_in_one_line(tmp_path, capsys, budget, warmup, ends):
    run = Run(tmp_path, make_data(), budget=budget)
    train(Toy(optim=Optim(warmup=warmup), batch_size=8), run)
    lines = [line for line in capsys.readouterr().out.splitlines() if "warm-up takes" in line]
    if ends is None:
        assert not lines
    else:
        (line,) = lines
        assert f"takes {warmup} steps and the budget ends after {ends}," in line
        assert line.endswith("such as --warmup 0.1")


def test_epochs_end_on_the_step_and_add_up(tmp_path):
    run = Run(tmp_path, make_data(42), budget=Budget(3, "epochs"), quiet=True, log_every=1)
    train(Toy(batch_size=6), run)
    rows = [row for row in rows_of(tmp_path) if "loss" in row]
    assert rows[-1]["examples"] == 3 * 42
    assert run.spent.total("epochs") == pytest.approx(3)
