"""A small method with everything that a resume could get wrong, and ways to run and kill it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Batch, EarlyStop, Optim, Stage, Trainable


def make_data(num_examples: int = 40) -> list[list[float]]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num_examples, 4, generator=generator).tolist()


class Regression(Trainable):
    """Predicts the sum of four numbers through a small network with dropout."""

    def __init__(
        self, dropout: float = 0.0, noise: float = 0.0, seed: int = 0, **base: Any
    ) -> None:
        super().__init__(**base)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout))
            self.head = nn.Linear(8, 1)
        self.noise = noise
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))

    def batch(self, examples: Any, generator: torch.Generator) -> Batch:
        x = torch.tensor(examples)
        noisy = x + self.noise * torch.randn(x.shape, generator=generator)
        big = (x[:, 0] > 0).sum().item()
        return {
            "x": noisy,
            "y": x.sum(1),
            "counts": {"examples": float(len(x)), "tokens": 4.0 * len(x), "big": float(big)},
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.training:
            self.num_seen += len(batch["x"])
        error = (self.head(self.body(batch["x"]))[:, 0] - batch["y"]) ** 2
        counts = batch["counts"]
        mse_loss = error.sum() / counts["examples"]
        big_loss = (error * (batch["x"][:, 0] > 0)).sum() / max(counts["big"], 1.0)
        return {"loss": mse_loss + 0.1 * big_loss, "mse_loss": mse_loss, "big_loss": big_loss}


class Toy(Regression, Method):
    """One stage by default; `stage` changes its fields."""

    def __init__(
        self, dropout: float = 0.0, noise: float = 0.0, seed: int = 0, **stage: Any
    ) -> None:
        super().__init__(dropout, noise, seed, config=None)
        self.stage = stage

    def stages(self, run: Run) -> Iterator[Stage]:
        options = {"budget": run.budget, "batch_size": 8, **self.stage}
        yield Stage("train", self, run.data, **options)


class Everything(Toy):
    """Two stages with an artefact between them, and all that can be switched on."""

    def __init__(self, make: Callable[[], None] | None = None) -> None:
        super().__init__(dropout=0.3, noise=0.1)
        self.critic = Regression(seed=5)
        self.critic.body = self.body  # tied weights
        self.make = make

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().losses(batch)
        shift = float(np.random.rand())  # as libraries do that draw from numpy's generator
        extra = self.critic.losses(batch)["loss"]
        return {**losses, "loss": losses["loss"] + shift * extra}

    def evaluate(self) -> dict[str, float]:
        with torch.no_grad():
            batch = self.batch(make_data(), torch.Generator().manual_seed(2))
            return {"loss": float(self.losses(batch)["mse_loss"])}

    def stages(self, run: Run) -> Iterator[Stage]:
        yield Stage(
            "warm",
            self,
            run.data,
            Budget(13, "steps"),
            optim=(
                Optim(lr=1e-2, warmup=3, match="head"),
                Optim(lr=1e-2, kind="sgd", match="body"),
            ),
            batch_size=8,
            micro_batch_size=4,
            ema=0.8,
            evaluate=self.evaluate,
            evaluate_every=3,
        )
        folder = run.once("samples", lambda folder: self.write_samples(run, folder))
        data = json.loads((folder / "samples.json").read_text())
        run.log({"num_samples": len(data)})
        yield Stage(
            "reinforce",
            self,
            data,
            Budget(400, "tokens"),
            optim=Optim(lr=3e-2, warmup=0.3, schedule="cosine"),
            batch_size=10,
            evaluate=self.evaluate,
            evaluate_every=2,
            # the worst is called the best, so that it comes early and must outlive a kill
            early_stop=EarlyStop("loss", patience=20, better="higher"),
        )

    def write_samples(self, run: Run, folder: Path) -> None:
        samples = torch.rand(20, 4).tolist()  # from the global generator, as `generate` does
        (folder / "samples.json").write_text(json.dumps(samples))
        run.book("sample", tokens=80.0)
        if self.make is not None:
            self.make()


def run_everything(folder: Path, make: Callable[[], None] | None = None) -> tuple[Everything, Run]:
    """The command that the resume tests repeat."""
    method = Everything(make)
    run = Run(folder, make_data(), quiet=True, save_every=Budget(4, "steps"), log_every=3)
    train(method, run)
    return method, run


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, without the seconds."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("seconds", None)
    return rows


def spent_of(run: Run) -> dict[str, dict[str, float]]:
    """What was spent, without the seconds."""
    return {
        purpose: {unit: amount for unit, amount in row.items() if unit != "seconds"}
        for purpose, row in run.spent.by_purpose.items()
    }


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """True when all weights and buffers are equal bit for bit."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def kill_at(owner: Any, name: str, call: int, after: bool = False) -> None:
    """Makes a call of a function, counted from 1, the last thing that this process does."""
    function = getattr(owner, name)
    count = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)
