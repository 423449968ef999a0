"""The line of a stage, lines of evaluations, and the summary at the end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from train_toy import Toy, make_data

from pretrial import status
from pretrial.train import progress
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.progress import StageLine, summary
from pretrial.train.run import Run


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_line_has_step_time_left_loss_rate_and_speed(clock):
    line = StageLine("train", 150_000, lambda: {"lr_0": 4.98e-4, "lr_1": 1.0})
    assert line.line() == "train  step 0/150,000  lr 0.0005"
    line.update(1, 1 / 150_000, 32, 1.0)
    assert line.line() == "train  step 1/150,000  lr 0.0005"
    clock[0] += 60
    line.update(15_000, 0.1, 480_032, 41.0)  # twenty seconds went into evaluations
    line.note({"loss": 6.12345, "mlm_loss": 3.0, "grad_norm": 2.0})
    told = "train  step 15,000/150,000  9:00 left  loss 6.123  lr 0.0005  12,000 examples/s"
    assert line.line() == told
    assert len(told) <= 80


def test_a_slow_step_shows_its_loss_before_it_is_logged(clock, monkeypatch):
    line = StageLine("train", 100)
    line.update(1, 0.01, 8, 20.0, [{"loss": 9.5}])
    assert "loss" not in line.line()  # nobody looks
    monkeypatch.setattr(status, "is_shown", lambda: True)
    clock[0] += 20
    line.update(2, 0.02, 16, 40.0, [{"loss": 9.5}, {"loss": 9.25}])
    assert "loss 9.25" in line.line()
    clock[0] += 1
    line.update(3, 0.03, 24, 41.0, [{"loss": 7.0}])  # fast now: the logged means will do
    assert "loss 9.25" in line.line()


def test_where_steps_are_unknown_the_share_is_told(clock):
    line = StageLine("reinforce")
    line.update(3, 0.25, 3, 6.0)
    clock[0] += 4
    line.update(4, 0.5, 4, 8.0)
    line.note({"loss": float("1.5"), "share_passed": 0.345, "reward": None})
    assert line.line() == (
        "reinforce  step 4, 50%  0:08 left  loss 1.5  passing 34%  0.5 examples/s"
    )


def test_a_stage_tells_its_line_and_its_evaluations_stay(tmp_path, monkeypatch):
    for name in ("FIRST", "EVERY", "_SHORT"):
        monkeypatch.setattr(status, name, 0.0)
    monkeypatch.setattr(status, "_REFRESH", 0.001)
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    run = Run(tmp_path, make_data(), budget=Budget(60), log_every=5)
    run.console = console
    train(Toy(evaluate=lambda: {"error": 0.25}, evaluate_every=20), run)
    told = console.file.getvalue().splitlines()
    evaluations = [line for line in told if "held out" in line]
    assert evaluations == [f"train  step {step}  held out: error 0.25" for step in (20, 40, 60)]
    assert any(line.startswith("train  step ") and "/60" in line for line in told)


def test_a_quiet_run_says_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(status, "FIRST", 0.0)
    monkeypatch.setattr(status, "_REFRESH", 0.001)
    run = Run(tmp_path, make_data(), budget=Budget(60), quiet=True)
    train(Toy(evaluate=lambda: {"error": 0.25}, evaluate_every=20), run)
    assert capsys.readouterr() == ("", "")


def test_the_summary_has_the_first_and_the_last_of_what_counts():
    rows = [
        {"stage": "warm", "step": 10, "loss": 9.0, "lr": 1.0},
        {"stage": "warm", "step": 20, "loss": 6.25, "lr": 0.5},
        {"stage": "warm", "step": 20, "eval/loss": 6.5, "eval/nll": 6.0, "eval/more": 1.0},
        {"programs": 10, "share_passed": 0.1},
        {"programs": 10, "share_passed": 0.5},
        {"stage": "bad", "step": 1, "loss": None},
    ]
    assert summary(rows) == [
        "warm: loss 9 -> 6.25, held-out loss 6.5, held-out nll 6",
        "run: passing 10% -> 50%",
    ]
