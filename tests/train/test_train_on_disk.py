"""Training on rows on the disk: order, exact resume, no row lost between processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from pretrial.data.reading.indexed import DiskRows, write_index
from pretrial.data.reading.sources import load
from pretrial.data.rows import Mapped, Rows, texts
from pretrial.data.windows.cutting import DiskWindows, Windows
from pretrial.train.batches import Batches
from pretrial.train.budget import Budget
from pretrial.train.loop import Stopped, train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage
from pretrial.train.tokens import token_windows

NUM_ROWS = 96


@pytest.fixture
def rows(tmp_path: Path) -> DiskRows:
    """Rows of three shards, on the disk."""
    shards, folder = tmp_path / "shards", tmp_path / "index"
    shards.mkdir()
    folder.mkdir()
    for shard in range(3):
        lines = [
            json.dumps({"text": f"row {i}, {'word ' * (i % 9)}", "n": i}) + "\n"
            for i in range(shard * 32, shard * 32 + 32)
        ]
        (shards / f"{shard}.jsonl").write_text("".join(lines))
    write_index(folder, load(shards, streaming=True), {}, lambda row: "all", ["all"])
    return DiskRows(folder, "all")


class Sees(Method):
    """Remembers which rows it was given."""

    def __init__(self, stop_after: int = -1) -> None:
        super().__init__(None)
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[int] = []
        self.stop_after = stop_after

    def batch(self, examples: Any, generator: torch.Generator) -> dict[str, Any]:
        self.seen += [row["n"] for row in examples]
        if len(self.seen) == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        numbers = torch.tensor([float(row["n"]) for row in examples])
        return {"n": numbers, "counts": {"examples": float(len(examples))}}

    def losses(self, batch: dict[str, Any]) -> dict[str, Any]:
        error = (self.weight - batch["n"] / NUM_ROWS) ** 2
        return {"loss": error.sum() / batch["counts"]["examples"]}

    def stages(self, run: Run) -> Any:
        yield Stage("train", self, run.data, run.budget, batch_size=8)


def run(method: Sees, folder: Path, data: Any) -> list[int]:
    train(method, Run(folder, data, budget=Budget(20, "steps"), quiet=True))
    return method.seen


def test_the_same_rows_in_the_same_order_as_from_memory(rows: DiskRows, tmp_path: Path) -> None:
    on_disk = run(Sees(), tmp_path / "disk", rows)
    assert on_disk == run(Sees(), tmp_path / "memory", Rows(rows))
    assert sorted(on_disk[:NUM_ROWS]) == list(range(NUM_ROWS))
    assert on_disk[:NUM_ROWS] != sorted(on_disk[:NUM_ROWS])


def test_a_stopped_run_goes_on_with_the_next_row(rows: DiskRows, tmp_path: Path) -> None:
    unbroken = Sees()
    run(unbroken, tmp_path / "unbroken", rows)
    stopped, resumed = Sees(stop_after=56), Sees()
    with pytest.raises(Stopped, match="at step 7"):
        run(stopped, tmp_path / "broken", rows)
    run(resumed, tmp_path / "broken", rows)
    assert len(stopped.seen) == 56
    assert stopped.seen + resumed.seen == unbroken.seen
    assert torch.equal(resumed.weight, unbroken.weight)


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_the_rows_without_overlap_or_loss(rows: DiskRows, size: int) -> None:
    alone = Sees()
    for rank in range(size):
        world = SimpleNamespace(rank=rank, size=size, gather=lambda v: [v], sum=lambda v: v)
        method = Sees()
        stage = Stage("train", method, rows, Budget(12, "steps"), batch_size=8)
        batches = Batches(stage, SimpleNamespace(world=world, seed=0, device=torch.device("cpu")))
        for step in range(NUM_ROWS // 8):
            batches.of_step(step)
        assert len(method.seen) == NUM_ROWS // size
        alone.seen += method.seen
    assert sorted(alone.seen) == list(range(NUM_ROWS))


class Words:
    """A tokenizer of white space, as far as windows need one."""

    def __call__(
        self, chunk: list[str], add_special_tokens: bool, split_special_tokens: bool
    ) -> dict[str, Any]:
        assert not add_special_tokens
        assert split_special_tokens
        return {"input_ids": [[len(word) for word in text.split()] for text in chunk]}


def test_windows_of_texts_on_the_disk_are_cut_once(rows: DiskRows, tmp_path: Path) -> None:
    column = texts(rows)
    assert isinstance(column, Mapped)
    folder = tmp_path / "run"
    windows = token_windows(Run(folder, quiet=True), "data", column, Words(), 4)
    expected = token_windows(Run(folder, quiet=True), "data", list(column), Words(), 4)
    assert isinstance(windows, DiskWindows)
    assert isinstance(expected, Windows)
    assert list(windows) == list(expected)
    assert windows[-1] == expected[-1]
    assert windows[5:8] == expected[5:8]
    with pytest.raises(IndexError):
        windows[len(expected)]
    again = token_windows(Run(folder, quiet=True), "data", column, None, 4)
    assert list(again) == list(expected)
