"""A killed run that is started again ends as one that was never killed, bit for bit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from launched import in_child
from torch import nn
from train_toy import (
    Everything,
    Toy,
    kill_at,
    make_data,
    rows_of,
    run_everything,
    same_weights,
    spent_of,
)

from pretrial.errors import UserError
from pretrial.train import checkpoint
from pretrial.train.budget import Budget
from pretrial.train.loop import Stopped, _StageLoop, train
from pretrial.train.optim import Optimizers
from pretrial.train.run import Run
from pretrial.train.stage import Optim


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Everything, Run]:
    return run_everything(tmp_path_factory.mktemp("unbroken"))


def check_same(unbroken: tuple[Everything, Run], folder: Path) -> None:
    method, run = run_everything(folder)
    expected_method, expected_run = unbroken
    assert same_weights(method, expected_method)
    assert rows_of(folder) == rows_of(expected_run.folder)
    assert spent_of(run) == spent_of(expected_run)
    assert not list(folder.rglob(".partial-*"))
    assert not list(folder.rglob("step-*"))


def killed(folder: Path, *where: Any, **options: Any) -> None:
    def work() -> None:
        kill_at(*where, **options)
        run_everything(folder)

    child = in_child(work)
    child.join()
    assert child.exitcode == -signal.SIGKILL


# calls of Optimizers.step: 13 of the first stage, then 10 of the second
@pytest.mark.parametrize("step", [1, 4, 5, 11, 13, 14, 18, 23])
def test_killed_in_a_step(unbroken, tmp_path, step):
    killed(tmp_path, Optimizers, "step", step)
    check_same(unbroken, tmp_path)


# calls of os.rename: three checkpoints and the end of a stage, the artefact, two and the end
@pytest.mark.parametrize("rename", [1, 2, 4, 5, 6, 8])
@pytest.mark.parametrize("after", [False, True])
def test_killed_about_the_rename(unbroken, tmp_path, rename, after):
    killed(tmp_path, checkpoint.os, "rename", rename, after=after)
    check_same(unbroken, tmp_path)


@pytest.mark.parametrize("file", [1, 3, 6])
def test_killed_inside_a_checkpoint_write(unbroken, tmp_path, file):
    killed(tmp_path, checkpoint, "save_file", file, after=True)
    assert list(tmp_path.rglob(".partial-step-*"))
    check_same(unbroken, tmp_path)


def test_killed_inside_once(unbroken, tmp_path):
    def work() -> None:
        run_everything(tmp_path, make=lambda: os.kill(os.getpid(), signal.SIGKILL))

    child = in_child(work)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert (tmp_path / "artefacts/.partial-samples/samples.json").exists()
    check_same(unbroken, tmp_path)


def test_killed_again_and_again(unbroken, tmp_path):
    for step in (6, 3, 5, 6):
        killed(tmp_path, Optimizers, "step", step)
    check_same(unbroken, tmp_path)


def test_finished_run_does_no_work(unbroken, tmp_path, monkeypatch):
    run_everything(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(Everything, "batch", None)
    method, run = run_everything(tmp_path)
    assert same_weights(method, unbroken[0])
    assert spent_of(run) == spent_of(unbroken[1])
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_only_two_checkpoints_are_kept(tmp_path):
    killed(tmp_path, Optimizers, "step", 13)
    names = sorted(path.name for path in (tmp_path / "stages/warm").iterdir())
    assert names == ["step-0000000008", "step-0000000012"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_signal_from_outside(tmp_path, number):
    folder = tmp_path / "broken"

    class Slow(Toy):
        def losses(self, batch):
            time.sleep(0.005)
            (tmp_path / "alive").touch()
            return super().losses(batch)

    def run(method: Toy, folder: Path) -> Toy:
        save = Budget(10, "steps")
        train(method, Run(folder, make_data(), budget=Budget(60), save_every=save, quiet=True))
        return method

    def work() -> None:
        with pytest.raises(Stopped, match=r"saved in .*: run the same command again to go on"):
            run(Slow(dropout=0.3, noise=0.1), folder)

    child = in_child(work)
    while not (tmp_path / "alive").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert not (folder / "stages/train/done").exists()
    if number != signal.SIGKILL:
        assert len(list(folder.glob("stages/train/step-*"))) >= 1

    resumed = run(Toy(dropout=0.3, noise=0.1), folder)
    unbroken = run(Toy(dropout=0.3, noise=0.1), tmp_path / "unbroken")
    assert same_weights(resumed, unbroken)
    assert rows_of(folder) == rows_of(tmp_path / "unbroken")


def test_signal_between_stages_stops_at_once(tmp_path):
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="same command"):
        run_everything(tmp_path, make=interrupt)
    assert not list(tmp_path.glob("artefacts/*"))


def test_seconds_already_spent_count(tmp_path):
    class Stops(Toy):
        def losses(self, batch):
            self.calls = getattr(self, "calls", 0) + 1
            time.sleep(0.02)
            if self.calls == 10:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().losses(batch)

    budget = Budget(0.4, "seconds")
    with pytest.raises(Stopped):
        train(Stops(), Run(tmp_path, make_data(), budget=budget, quiet=True))
    method = Stops()
    method.calls = 1000
    run = Run(tmp_path, make_data(), budget=budget, quiet=True)
    train(method, run)
    steps = method.calls - 1000
    assert 1 <= steps <= 10  # 0.2 of the 0.4 s are left
    assert run.spent.total("steps") == steps + 10
    assert run.spent.total("seconds") >= 0.4


def test_changed_settings_are_named(tmp_path):
    killed(tmp_path, Optimizers, "step", 6)

    class Other(Everything):
        def stages(self, run):
            for stage in super().stages(run):
                stage.budget = Budget(99, "steps")
                yield stage

    with pytest.raises(UserError, match="budget = 13 steps, not 99 steps"):
        train(Other(), Run(tmp_path, make_data(), quiet=True))


def test_changed_model_names_the_keys(tmp_path):
    killed(tmp_path, Optimizers, "step", 6)
    method = Everything()
    method.head = nn.Linear(8, 2)
    method.body.append(nn.Linear(8, 8))
    run = Run(tmp_path, make_data(), quiet=True)
    names = r"not in the checkpoint: body\.3\.bias, .*another shape: head\.bias"
    with pytest.raises(UserError, match=names):
        train(method, run)


def test_killed_behind_the_last_step_it_still_logs_the_last_learning_rate(tmp_path):
    def work(name: str) -> None:
        budget = Budget(4, "steps")
        options = {"optim": Optim(1e-2), "batch_size": 8}
        run = Run(tmp_path / name, make_data(), budget=budget, quiet=True, save_every=Budget(4))
        train(Toy(**options), run)

    work("unbroken")

    def die() -> None:
        kill_at(_StageLoop, "_finish", 1)
        work("broken")

    child = in_child(die)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    work("broken")
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "unbroken")
