"""A killed run that is started again ends as one that was never killed, bit for bit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from launched import in_child
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
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
from pretrial.train.stage import EarlyStop, Optim


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


# -- where weights stand in memory ----------------------------------------------------------------


def place_askew(path: Path, name: str) -> dict[str, Tensor]:
    """Moves what a safetensors file holds until `name` is mapped 8 bytes behind a multiple of 16.

    MKL gives a product of one row other last bits there than in memory that torch has taken.
    """
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    for more in range(0, 16, 4):
        header = raw[8:start] + b" " * more
        path.write_bytes(len(header).to_bytes(8, "little") + header + raw[start:])
        tensors = load_file(path)
        if tensors[name].data_ptr() % 16 == 8:
            return tensors
    raise AssertionError(f"{path} is not mapped")


class OneByOne(Toy):
    """Multiplies single rows, and sees to it that its weights stand as those of a fresh run."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(
            dropout=0.3,
            noise=0.1,
            seed=seed,
            batch_size=4,
            micro_batch_size=1,
            optim=Optim(1e-2),
            ema=0.9,
            evaluate=self.evaluate,
            evaluate_every=2,
            early_stop=EarlyStop("loss", patience=20),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
            self.head = nn.Linear(16, 1)

    def losses(self, batch):
        assert not any(weight.data_ptr() % 64 for weight in self.parameters())
        return super().losses(batch)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        batch = self.batch(make_data(1), torch.Generator().manual_seed(2))
        return {"loss": float(self.losses(batch)["loss"])}

    def begin_with(self, tensors: dict[str, Tensor]) -> OneByOne:
        """As `from_pretrained`, which takes what is mapped for its parameters."""
        for name, parameter in self.named_parameters():
            parameter.data = tensors[name]
        return self


def train_one_by_one(folder: Path, method: OneByOne) -> OneByOne:
    budget, save = Budget(9, "steps"), Budget(2, "steps")
    train(method, Run(folder, make_data(), budget=budget, save_every=save, quiet=True))
    return method


def stop_one_by_one(folder: Path, method: OneByOne) -> Path:
    """Kills a run in its sixth step; its newest checkpoint."""

    def work() -> None:
        kill_at(Optimizers, "step", 6)
        train_one_by_one(folder, method)

    child = in_child(work)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    newest = checkpoint.newest(folder / "stages/train")
    assert newest is not None
    assert newest.name == "step-0000000004"
    return newest


def test_a_checkpoint_may_be_mapped_askew(tmp_path):
    unbroken = train_one_by_one(tmp_path / "unbroken", OneByOne())
    newest = stop_one_by_one(tmp_path / "broken", OneByOne())
    for name, held in {
        "weights": "body.2.weight",
        "ema": "body.2.weight",
        "best": "body.2.weight",
        "optimizer": "body.2.weight/exp_avg",
    }.items():
        place_askew(newest / f"{name}.safetensors", held)
    resumed = train_one_by_one(tmp_path / "broken", OneByOne())
    assert same_weights(resumed, unbroken)
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "unbroken")


def test_the_weights_to_begin_with_may_be_mapped_askew(tmp_path):
    straight = {name: p.detach() for name, p in OneByOne(seed=3).named_parameters()}
    save_file(straight, tmp_path / "init.safetensors")
    askew = place_askew(tmp_path / "init.safetensors", "body.2.weight")
    unbroken = train_one_by_one(tmp_path / "unbroken", OneByOne(seed=3))
    stop_one_by_one(tmp_path / "broken", OneByOne().begin_with(askew))
    resumed = train_one_by_one(tmp_path / "broken", OneByOne().begin_with(askew))
    assert same_weights(resumed, unbroken)
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "unbroken")
