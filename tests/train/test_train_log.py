"""metrics.jsonl and trackers."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
from train_toy import Toy, make_data

from pretrial.errors import UserError
from pretrial.train import log
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run


def read(path):
    return [json.loads(line)["x"] for line in path.read_text().splitlines()]


def test_rows_after_the_known_part_are_cut_off(tmp_path):
    path = tmp_path / "m.jsonl"
    first = log.Journal(path, 0)
    first.write({"x": 1})
    known = first.sync()
    first.write({"x": 2})

    second = log.Journal(path, known)
    assert not second.write({"x": 1})  # passed through again
    assert read(path) == [1, 2]
    second.pass_to(known)
    assert second.write({"x": 3})
    assert read(path) == [1, 3]


def test_going_live_early_drops_what_was_known(tmp_path):
    path = tmp_path / "m.jsonl"
    first = log.Journal(path, 0)
    for x in (1, 2, 3):
        first.write({"x": x})
    second = log.Journal(path, first.sync())
    second.go_live()  # a stage that starts anew
    second.write({"x": 9})
    assert read(path) == [9]


def test_an_artefact_of_lost_work_moves_nothing(tmp_path):
    path = tmp_path / "m.jsonl"
    first = log.Journal(path, 0)
    first.write({"x": 1})
    saved = first.sync()
    first.write({"x": 2})  # rows up to an artefact that was made inside a stage
    second = log.Journal(path, first.sync())
    second.go_live(saved)
    second.pass_to(first.sync())
    second.write({"x": 3})
    assert read(path) == [1, 3]


def test_row_on_a_full_disk(tmp_path, monkeypatch):
    journal = log.Journal(tmp_path / "m.jsonl", 0)
    journal.write({"x": 1})
    real = journal._file

    class Full:
        def write(self, line):
            return real.write(line[:3])

        def __getattr__(self, name):
            return getattr(real, name)

    journal._file = Full()
    with pytest.raises(UserError, match="is full"):
        journal.write({"x": 2})
    assert read(tmp_path / "m.jsonl") == [1]
    journal._file = real
    journal.write({"x": 3})
    assert read(tmp_path / "m.jsonl") == [1, 3]


def test_numbers_that_json_has_not(tmp_path):
    run = Run(tmp_path, quiet=True)
    run.log({"a": float("nan"), "b": float("inf"), "c": 1, "d": 0.5}, step=3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row == {"step": 3, "a": None, "b": None, "c": 1, "d": 0.5}


class Recorder(ModuleType):
    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def init(self, **kwargs):
        self.calls.append(kwargs)

    def log(self, numbers):
        self.calls.append(numbers)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_online_trackers(tmp_path, monkeypatch, name):
    package = Recorder(name)
    monkeypatch.setitem(sys.modules, name, package)
    folder = tmp_path / "my-run"
    run = Run(folder, make_data(), budget=Budget(4), quiet=True, log_every=2, trackers=[name])
    train(Toy(), run)
    start, first, second = package.calls
    assert start == {"project": "pretrial", "name": "my-run"}
    assert (first["train/step"], second["train/step"]) == (2, 4)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert first["train/loss"] == rows[0]["loss"]


def test_tensorboard(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, folder):
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = Run(tmp_path, quiet=True, trackers=["tensorboard"])
    run.log({"x": 1.5, "bad": float("nan")}, step=7)
    assert calls == [("run/x", 1.5, 7)]


def test_tracker_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'pretrial\[track\]'"):
        Run(tmp_path, quiet=True, trackers=["wandb"])
    with pytest.raises(UserError, match="no tracker 'wandbb'; try wandb"):
        Run(tmp_path, quiet=True, trackers=["wandbb"])
