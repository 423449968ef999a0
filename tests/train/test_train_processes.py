"""Two processes learn what one learns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launched import free_port, in_processes
from safetensors.torch import load_file
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
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.optim import Optimizers
from pretrial.train.run import Run
from pretrial.train.stage import Optim


def small(folder: Path, method: Toy | None = None, **how) -> Run:
    method = method or Toy(dropout=0.3, noise=0.1, optim=Optim(1e-2), micro_batch_size=2)
    run = Run(folder, make_data(), budget=Budget(6), quiet=True, log_every=4, measure_flops=True)
    train(method, run, **how)
    return run


def check_equal(folder: Path, expected: Path) -> None:
    one = load_file(folder / "stages/train/done/weights.safetensors")
    other = load_file(expected / "stages/train/done/weights.safetensors")
    assert one.keys() == other.keys()
    for name in one.keys() - {"num_seen"}:  # a buffer is that of the first process
        assert torch.allclose(one[name], other[name], rtol=1e-5, atol=1e-6), name
    for row, wanted in zip(rows_of(folder), rows_of(expected), strict=True):
        assert row.pop("stage") == wanted.pop("stage")
        assert row == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_equal_one(tmp_path, shard):
    one = small(tmp_path / "one")

    def work() -> None:
        run = small(tmp_path / "two", shard=shard)
        assert run.world.size == 2
        assert spent_of(run) == spent_of(one)

    in_processes(2, work)
    check_equal(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize("shard", [False, True])
def test_resume_in_two_processes(tmp_path, shard):
    class Sharded(Toy):
        def __init__(self) -> None:
            stage = {"optim": Optim(1e-2), "ema": 0.7, "micro_batch_size": 2}
            super().__init__(dropout=0.3, noise=0.1, **stage)
            self.body = nn.Sequential(nn.ModuleList([*self.body])[0], *self.body[1:])

    def unbroken() -> None:
        run = Run(tmp_path / "unbroken", make_data(), budget=Budget(9), quiet=True)
        train(Sharded(), run, shard=shard)

    def broken() -> None:
        save = Budget(3, "steps")
        folder = tmp_path / "broken"
        run = Run(folder, make_data(), budget=Budget(9), quiet=True, save_every=save)
        if not list(folder.glob("stages/*/step-*")):
            kill_at(Optimizers, "step", 8)
        train(Sharded(), run, shard=shard)

    in_processes(2, unbroken)
    in_processes(2, broken, exitcode=-signal.SIGKILL)
    in_processes(2, broken)
    one = load_file(tmp_path / "broken/stages/train/done/weights.safetensors")
    other = load_file(tmp_path / "unbroken/stages/train/done/weights.safetensors")
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "unbroken")


def test_stages_artefacts_and_a_stop_in_two_processes(tmp_path):
    def unbroken() -> None:
        run_everything(tmp_path / "unbroken")

    def stopped() -> None:
        def stop(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        if os.environ["RANK"] == "1":  # one process asks, both stop at the end of the same step
            Everything.evaluate = lambda self, real=Everything.evaluate: stop() or real(self)
        with pytest.raises(UserError, match="stopped at step 4 of stage 'warm'"):
            run_everything(tmp_path / "broken")

    def resumed() -> None:
        method, run = run_everything(tmp_path / "broken")
        again, _ = run_everything(tmp_path / "broken")
        assert same_weights(method, again)
        assert run.spent.by_purpose["sample"] == {"tokens": 80.0}

    in_processes(2, unbroken)
    in_processes(2, stopped)
    in_processes(2, resumed)
    for stage in ("warm", "reinforce"):
        one = load_file(tmp_path / f"broken/stages/{stage}/done/weights.safetensors")
        other = load_file(tmp_path / f"unbroken/stages/{stage}/done/weights.safetensors")
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "unbroken")


def test_micro_batches_may_skip_parameters(tmp_path):
    class TwoTasks(Toy):
        skips_parameters = True

        def __init__(self) -> None:
            super().__init__(optim=Optim(1e-2), micro_batch_size=2, shuffle=False)
            self.other = nn.Linear(8, 1)
            nn.init.ones_(self.other.weight)
            nn.init.zeros_(self.other.bias)

        def batch(self, examples, generator):
            batch = super().batch(examples, generator)
            return {**batch, "both": examples[0] in (make_data()[0], make_data()[6])}

        def losses(self, batch):
            losses = super().losses(batch)
            if not batch["both"]:
                return losses
            extra = self.other(self.body(batch["x"])).sum() / batch["counts"]["examples"]
            return {**losses, "loss": losses["loss"] + extra}

    small(tmp_path / "one", TwoTasks())
    in_processes(2, lambda: small(tmp_path / "two", TwoTasks()))
    check_equal(tmp_path / "two", tmp_path / "one")


def test_a_failure_of_one_is_everyones(tmp_path):
    def work() -> None:
        def fail(folder: Path) -> None:
            raise UserError("no samples")

        run = Run(tmp_path, quiet=True)
        with pytest.raises((UserError, RuntimeError), match=r"no samples|its message says why"):
            run.once("samples", fail)

    in_processes(2, work)


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
from test_train_processes import small
run = small(Path(sys.argv[1]))
run.say(f"{{run.world.size}} processes")
"""


def launched(folder: Path, commands: list[list[str]]) -> None:
    """Runs the same training from all the commands, side by side."""
    here, script = Path(__file__).parent, folder / "script.py"
    script.write_text(SCRIPT.format(tests=[str(here), str(here.parent)]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *words, str(script), folder / "two"], env=environment
        )
        for words in commands
    ]
    assert [process.wait(timeout=120) for process in processes] == [0] * len(commands)


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_launchers(tmp_path, launcher):
    words = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    if launcher == "accelerate":
        pytest.importorskip("accelerate")
        # on a machine without GPUs "multi_gpu" is accelerate's way to say several processes
        words = ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
        words += ["--num_machines=1", f"--main_process_port={free_port()}"]
    one = small(tmp_path / "one")
    launched(tmp_path, [words])
    check_equal(tmp_path / "two", one.folder)


def test_launched_on_two_machines(tmp_path):
    """One process on each, which meet at an address."""
    one, address = small(tmp_path / "one"), f"127.0.0.1:{free_port()}"
    nodes = [
        [
            "torch.distributed.run",
            "--nnodes=2",
            "--nproc-per-node=1",
            f"--node-rank={node}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={address}",
            f"--rdzv-conf=is_host={node == 0}",
            "--local-addr=127.0.0.1",
        ]
        for node in range(2)
    ]
    launched(tmp_path, nodes)
    check_equal(tmp_path / "two", one.folder)
