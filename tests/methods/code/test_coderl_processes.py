"""CodeRL in two processes: the stages of one, sampling within the last phase included."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pretrial.data.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL, Config
from pretrial.methods.code.coderl.training import Course
from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import train
from pretrial.train.run import Run

_WORDS = """
import sys
from pathlib import Path
from test_coderl_processes import work
work(Path(sys.argv[1]), micro_batch=4)
"""


def work(folder: Path, **changes: int) -> None:
    """Every stage once, in steps of 8 examples."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    problems = mini_apps(num_train=12, num_test=0, solved=8).train
    config = replace(
        Config.tiny(), critic_batch=8, warmup_epochs=1, critic_epochs=1, checker_epochs=1, **changes
    )
    config = replace(config, repair_epochs=0)
    train(CodeRL.build(config, data=problems), Run(folder, problems, quiet=True))


def test_two_processes_train_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORDS, str(tmp_path / "two")],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    work(tmp_path / "one", micro_batch=4)
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    for stage in ("warmup", "critic", "reinforce", "checker"):
        one, two = (
            read_tensors(tmp_path / number / "stages" / stage / "done", "weights")
            for number in ("one", "two")
        )
        assert one.keys() == two.keys()
        for name, weight in one.items():
            torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("num_processes", "micro_batch", "num_examples", "expected"),
    [
        (1, 0, 100, (32, None)),  # the loop parts the batch
        (2, 0, 100, (32, None)),
        (2, 4, 100, (32, 4)),
        (1, 0, 7, (7, 7)),
        (2, 0, 7, (6, 3)),
        (2, 2, 7, (4, 2)),
        (1, 4, 10, (8, 4)),
    ],
)
def test_steps_are_whole_in_every_process(num_processes, micro_batch, num_examples, expected):
    course = Course.__new__(Course)
    course.config = replace(Config.tiny(), micro_batch=micro_batch)
    course.run = SimpleNamespace(world=SimpleNamespace(size=num_processes))  # type: ignore[assignment]
    assert course._sizes(32, num_examples) == expected
