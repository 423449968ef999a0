"""What the arms of a trial begin with: one model a seed that all go on from, or random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pretrial import discover
from pretrial.compare.trial import Context, Data
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run


def warm_start(
    slug: str,
    config: Any,
    data: Callable[[], Data],
    budget: Budget,
    seed: int,
    folder: Path,
) -> Spent:
    """Trains the model that all arms of a seed go on from; made partial, a trial's `prepare`.

    Args:
        slug: of the method.
        config: its settings.
        data: makes the trial's data, whose rows are trained on.
        budget: of the training.
        seed: of weights and training.
        folder: where the method is saved.
    """
    kind = discover.load(slug).method
    examples = kind.read(data().train)
    torch.manual_seed(seed)
    method = kind.build(config, data=examples)
    run = Run(folder / "run", examples, budget=budget, seed=seed, quiet=True)
    train(method, run)
    run.close()
    method.save(folder)
    return run.spent


def begun(slug: str, config: Any, run: Run, source: str | Path | None = None) -> tuple[Run, Any]:
    """A run over the examples of its rows, and the method that is to be trained in it.

    Args:
        slug: of the method.
        config: its settings.
        run: of an arm; its data are rows.
        source: what the method starts from; None is from scratch.
    """
    kind = discover.load(slug).method
    run = run.over(kind.read(run.data), kind.read(run.held_out) if run.held_out else ())
    return run, kind.build(config, source=source, data=run.data)


def untrained(slug: str, config: Any, context: Context) -> Any:
    """Random weights of the seed; made partial, the `run` of an arm beside a warm start.

    Args:
        slug: of the method.
        config: its settings.
        context: what the arm is given.
    """
    kind = discover.load(slug).method
    torch.manual_seed(context.run.seed)
    return kind.build(config, data=kind.read(context.data.train)).eval()
