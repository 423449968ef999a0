"""Every method learns in two processes what it learns in one, replicated (DDP) and sharded (FSDP).

Half of each run is done in the other way, from a checkpoint in the middle of the first stage.

One process takes each step in the two halves that two processes would take. What is drawn for a
half depends on where it begins, so both draw the same.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.fsdp
from launched import in_processes

from pretrial import discover
from pretrial.errors import UserError
from pretrial.objectives import contrastive
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import Stopped, train
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of

METHODS = discover.methods()
BUDGET = Budget(4, "steps")
# attention does not depend on the biases of keys: their gradients are rounding errors, of which
# Adam makes steps of full size
_NOISE = re.compile(r"(key|k_proj|\.k)\.bias$")


class Pair:
    """Two threads that stand for two processes, for losses which gather from both.

    Each takes the losses of one half of a batch; what they gather they hand to one another, so that
    the sum of their losses has the gradients of a step in two processes.
    """

    def __init__(self, module: Any, run: Run, stage: str, size: int) -> None:
        self.module, self.batch_of, self.losses_of = module, module.batch, module.losses
        self.run, self.stage, self.size = run, stage, size
        self.half = size // 2
        self.here = threading.local()
        self.slots: list[Any] = [None, None]
        self.barrier = threading.Barrier(2, timeout=60)

    def batch(self, examples: Any, generator: torch.Generator) -> dict[str, Any]:
        if len(examples) != self.size or not self.module.training:
            return self.batch_of(examples, generator)
        one = self.batch_of(examples[: self.half], generator)
        seed = seed_of(self.run.seed, self.stage, self.begins(generator) + self.half)
        other = self.batch_of(examples[self.half :], torch.Generator().manual_seed(seed))
        counts = {n: one["counts"][n] + other["counts"][n] for n in one["counts"]}
        return {"halves": (one, other), "counts": counts}

    def begins(self, generator: torch.Generator) -> int:
        """The position that the generator was seeded for."""
        for step in range(100):
            if generator.initial_seed() == seed_of(self.run.seed, self.stage, step * self.size):
                return step * self.size
        raise AssertionError("a batch that is not of this stage")

    def losses(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        if "halves" not in batch:
            return self.losses_of(batch)
        found: list[Any] = [None, None]

        def work(rank: int) -> None:
            self.here.rank = rank
            try:
                half = {**batch["halves"][rank], "counts": batch["counts"]}
                found[rank] = self.losses_of(half)
            except BaseException:
                self.barrier.abort()
                raise

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one, other = found
        return {name: one[name] + other[name] for name in one}

    # What `contrastive` asks of its processes

    def num_processes(self) -> int:
        return 2 if hasattr(self.here, "rank") else 1

    def get_rank(self) -> int:
        return self.here.rank

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        self.slots[self.here.rank] = rows
        self.barrier.wait()
        both = torch.cat(self.slots)
        self.barrier.wait()
        return both


def in_halves(method: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every process, also where it is the only one, compute half a step at a time."""
    real = method.stages

    def stages(run: Run) -> Any:
        for stage in real(run):
            stage.batch_size -= stage.batch_size % 2  # little data can make it odd
            half = stage.batch_size // 2
            if not stage.module.compares_examples:
                fits = stage.micro_batch_size and half % stage.micro_batch_size == 0
                stage.micro_batch_size = stage.micro_batch_size if fits else half
            elif run.world.size == 1:
                pair = Pair(stage.module, run, stage.name, stage.batch_size)
                monkeypatch.setattr(contrastive, "_num_processes", pair.num_processes)
                monkeypatch.setattr(contrastive, "_Gather", pair)
                monkeypatch.setattr(contrastive, "dist", pair)
                stage.module.batch, stage.module.losses = pair.batch, pair.losses
                yield stage
                del stage.module.batch, stage.module.losses
                continue
            yield stage

    method.stages = stages


class StoppedRun(Run):
    """A run that is asked to stop after two steps of its first stage."""

    steps = 0

    def book(self, purpose: str, **amounts: float) -> None:
        super().book(purpose, **amounts)
        if self.stage and amounts.get("steps") == 1:
            self.steps += 1
            if self.steps == 2:
                os.kill(os.getpid(), signal.SIGTERM)


class Course:
    """One method at its tiny size, trained in folders."""

    def __init__(self, slug: str) -> None:
        loaded = discover.load(slug)
        self.method, self.config = loaded.method, loaded.config.tiny()
        self.examples = self.method.read(self.method.sample_rows())

    def train(self, folder: Path, kind: type[Run] = Run, **how: bool) -> None:
        torch.manual_seed(0)
        method = self.method.build(self.config, data=self.examples)
        run = kind(folder, self.examples, budget=BUDGET, quiet=True, log_every=2)
        with pytest.MonkeyPatch.context() as patch:
            in_halves(method, run, patch)
            try:
                train(method, run, **how)
            finally:
                run.close()

    def begin(self, folder: Path, **how: bool) -> None:
        try:
            self.train(folder, StoppedRun, **how)
        except Stopped:
            return
        raise AssertionError("the run was not stopped")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def assert_alike(folder: Path, expected: Path) -> None:
    """The same losses and, for every stage, the same weights."""
    for row, wanted in zip(rows_of(folder), rows_of(expected), strict=True):
        assert row.pop("stage", "") == wanted.pop("stage", ""), (row, wanted)
        assert row == pytest.approx(wanted, rel=2e-3, abs=1e-5)
    stages = sorted(path.name for path in (expected / "stages").iterdir())
    assert sorted(path.name for path in (folder / "stages").iterdir()) == stages
    for stage in stages:
        one, two = (
            read_tensors(where / "stages" / stage / "done", "weights")
            for where in (expected, folder)
        )
        assert one.keys() == two.keys()
        for name, weight in one.items():
            if _NOISE.search(name):
                continue
            torch.testing.assert_close(
                two[name],
                weight,
                rtol=1e-3,
                atol=1e-4,
                msg=lambda m, n=f"{folder.name}: {stage}: {name}": f"{n}: {m}",
            )


@pytest.mark.parametrize("slug", sorted(METHODS))
def test_two_processes_learn_what_one_does(slug, tmp_path):
    course = Course(slug)
    course.train(tmp_path / "one")
    course.begin(tmp_path / "one-then-sharded")

    def both() -> None:
        course.train(tmp_path / "replicated")
        try:
            course.begin(tmp_path / "sharded-then-one", shard=True)
        except UserError as refusal:  # a method may say that it cannot, see docs/scale.md
            if "leave out --shard" not in str(refusal):
                raise
            (tmp_path / "refused").touch()
        else:
            course.train(tmp_path / "one-then-sharded", shard=True)

    in_processes(2, both)
    assert_alike(tmp_path / "replicated", tmp_path / "one")
    if not (tmp_path / "refused").exists():
        course.train(tmp_path / "sharded-then-one")
        assert_alike(tmp_path / "one-then-sharded", tmp_path / "one")
        assert_alike(tmp_path / "sharded-then-one", tmp_path / "one")
