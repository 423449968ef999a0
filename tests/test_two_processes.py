"""Two processes train as one does; the loop is the same for all methods, so one method shows it."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from pretrial.methods.text.mlm import MLM, Config, examples
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import train
from pretrial.train.run import Run

_WORDS = """
import sys
from pathlib import Path
from test_two_processes import work
work(Path(sys.argv[1]))
"""


def work(folder):
    """Trains in micro-batches of 4; the weights at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = MLM.read(examples())
    method = MLM.build(dataclasses.replace(Config.tiny(), micro_batch_size=4), data=texts)
    train(method, Run(folder, texts, budget=Budget(8, "steps"), quiet=True))
    return read_tensors(folder / "stages" / "train" / "done", "weights")


def test_two_processes_equal_one(tmp_path):
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
    one = work(tmp_path / "one")
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    two = read_tensors(tmp_path / "two" / "stages" / "train" / "done", "weights")
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5)
