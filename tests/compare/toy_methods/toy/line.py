"""A straight line fitted by SGD: the smallest method, for tests of the trial engine.

Options of its trial reach the corners of the engine: slow steps, unequal budgets, a failing arm, a
shared warm start.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from pretrial.card import Card, Claim, Field
from pretrial.compare.trial import Arm, Data, Gate, Premise, Trial, Tuning
from pretrial.data.reading.sources import load
from pretrial.errors import UserError
from pretrial.train.budget import Budget, Spent
from pretrial.train.method import Method
from pretrial.train.stage import Optim, Stage

CARD = Card(
    slug="line",
    title="A line through points",
    authors="Nobody",
    year=2024,
    arxiv="0000.00000",
    summary="Fits y = a x + b by stochastic gradient descent.",
    baseline="a constant",
    abilities=("predict", "guess"),
    fields=(Field("x", "the input"), Field("y", "the output")),
    claims=(Claim("A slope helps.", "nowhere"),),
)


@dataclass(frozen=True)
class Config:
    """slope: whether there is one; steps_ratio: of the budget; sleep: seconds a step; lr: rate."""

    slope: bool = True
    steps_ratio: float = 1.0
    sleep: float = 0.0
    lr: float = 0.05


class Line(Method):
    """y = a x + b."""

    Config = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.b = torch.nn.Parameter(0.1 * torch.randn(()))
        if config.slope:
            self.a = torch.nn.Parameter(0.1 * torch.randn(()))

    @classmethod
    def build(cls, config, source=None, data=None):
        made = cls(config)
        if source is not None:
            made.b.data.fill_(float((Path(source) / "b.txt").read_text()))
        return made

    def forward(self, x):
        return self.b + (self.a * x if self.config.slope else 0.0 * x)

    def batch(self, examples, generator):
        x = torch.tensor([e["x"] for e in examples])
        y = torch.tensor([e["y"] for e in examples])
        y = y + 0.1 * torch.randn(len(y), generator=generator)
        return {"x": x, "y": y, "counts": {"examples": float(len(examples))}}

    def losses(self, batch):
        time.sleep(self.config.sleep)
        error = (self(batch["x"]) - batch["y"]) ** 2
        return {"loss": error.sum() / batch["counts"]["examples"]}

    def stages(self, run):
        run.save_every = Budget(5, "steps")
        budget = Budget(run.budget.amount * self.config.steps_ratio, run.budget.unit)
        yield Stage("train", self, run.data, budget, Optim(lr=self.config.lr), batch_size=4)


def trial(
    *,
    sleep: float = 0.0,
    short: float = 1.0,
    fail: bool = False,
    warm: bool = False,
    steps: int = 30,
    items: bool = True,
    name: str = "",
    data: str = "",
    useful: float = 0.0,
    relative: bool = False,
    gate: bool = False,
    ceiling: float = -1.0,
    premise: float = -1.0,
    tune: bool = False,
) -> Trial:
    """Does a slope help?

    Args:
        sleep: seconds a step.
        short: share of the budget that the baseline takes.
        fail: whether the slope's measurement fails.
        warm: share a warm start.
        steps: the budget.
        items: measure an error an item.
        name: of a further trial.
        data: other points than its own.
        useful: the smallest difference that matters.
        relative: as a share.
        gate: whether an untrained line is to be beaten.
        ceiling: the best error there is, where it is not negative.
        premise: least error of the baseline, where it is not negative.
        tune: whether arms choose their learning rate.
    """
    rows = [{"x": i / 16 - 1, "y": (i / 16 - 1) * 0.8 + 0.3} for i in range(33)]
    if data:
        rows = load(data)

    def measure(line, data, seed):
        if fail and line.config.slope:
            raise UserError("this arm cannot be measured")
        x = torch.tensor([row["x"] for row in data.test])
        y = torch.tensor([row["y"] for row in data.test])
        with torch.no_grad():
            errors = (line(x) - y).abs().tolist()
        return {"error": errors if items else sum(errors) / len(errors), "seed": float(seed)}

    def prepare(seed, folder):
        folder.joinpath("b.txt").write_text(str(0.25 + 0.01 * seed))
        with folder.joinpath("times.txt").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return Spent({"warm": {"steps": 7.0}})

    return Trial(
        question="Does a slope help?",
        name=name,
        data=lambda: Data(train=rows, test=rows[::3], name="33 points on a line"),
        arms=(
            Arm("line", "line", "method", "line", Config(sleep=sleep)),
            Arm("flat", "constant", "baseline", "line", Config(False, short, sleep)),
            Arm("raw", "untrained line", "control", run=_untrained, trains=False),
            Arm("half", "half rate", "ablation", "line", Config(sleep=sleep), default=False),
        ),
        measure=measure,
        metric="error",
        direction="lower",
        budget=Budget(steps, "steps"),
        claims=(("line", "flat", "error", "lower"), ("line", "raw", "error", "lower")),
        useful=useful,
        relative=relative,
        gate=Gate(("raw",) if gate else (), ceiling if ceiling >= 0 else None),
        premise=Premise("error", premise, "an error") if premise >= 0 else None,
        tuning=Tuning((1e-6, 0.05)) if tune else None,
        prepare=prepare if warm else None,
        notes=("A toy.",),
    )


def _untrained(context):
    return Line(Config())
