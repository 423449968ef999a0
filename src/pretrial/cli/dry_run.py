"""`train --dry-run`: what the stages will need, without training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrial.train.batches import micro_batch_size
from pretrial.train.budget import Budget
from pretrial.train.describe import describe
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage

_UNITS = ("B", "kB", "MB", "GB", "TB")


class _TrainingNeededError(Exception):
    """A stage waits for an artefact, and that for the stages before it."""


class _DryRun(Run):
    """A run that makes no artefacts once a stage should have been trained."""

    told_a_stage = False

    def once(self, name: str, make: Callable[[Path], None], purpose: str | None = None) -> Path:
        if self.told_a_stage:
            raise _TrainingNeededError(name)
        return super().once(name, make, purpose)


def dry_run(
    method: Method, data: Any, held_out: Any, budget: Budget | None, seed: int, say: Any = print
) -> None:
    """Prints the stages that can be told before anything is trained.

    Args:
        method: as it would be trained.
        data: its examples.
        held_out: those held out.
        budget: of the run.
        seed: of the run.
        say: takes each line.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = _DryRun(folder, data, held_out, budget, seed, quiet=True)
        try:
            for stage in method.stages(run):
                for line in [*_lines(describe(stage)), *_shapes(stage, run)]:
                    say(line)
                run.told_a_stage = True
        except _TrainingNeededError as artefact:
            say(f"then {artefact} is made, which needs what was trained; more stages follow it")


def _lines(about: dict[str, Any]) -> Iterator[str]:
    """A stage, as `describe` tells of it."""
    yield f"stage {about['stage']}"
    yield (
        f"  parameters  {about['num_trainable']:,} trained, {about['num_frozen']:,} not"
        f" ({about['module']})"
    )
    yield (
        f"  data        {about['num_examples']:,} examples, {about['batch_size']} a step,"
        f" {about['micro_batch_size']} a forward pass"
    )
    length = ""
    if about["num_steps"] is not None:
        length = f": {about['num_steps']:,} steps, {about['num_epochs']:.2f} epochs"
    yield f"  budget      {about['budget']}{length}"
    memory = {name: size for name, size in about["memory"].items() if size}
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in memory.items())
    yield f"  memory      {_bytes(sum(memory.values()))} ({parts})"
    yield (
        f"  work        {about['flops_per_step']:.3g} FLOPs a step,"
        f" {about['tokens_per_step']:,.0f} tokens"
    )


def _shapes(stage: Stage, run: Run) -> Iterator[str]:
    """The tensors of the first forward pass."""
    examples = [stage.data[index] for index in range(micro_batch_size(stage, 1))]
    batch = stage.module.batch(examples, run.generator(stage.name))
    for name, value in batch.items():
        if isinstance(value, Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            yield f"  batch       {name} {list(value.shape)} {kind}"


def _bytes(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} {_UNITS[-1]}"
