"""`train --dry-run`: what the stages will need, without training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrial.train.budget import Budget
from pretrial.train.describe import describe, first_batch
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage

_UNITS = ("B", "kB", "MB", "GB", "TB")


class _TrainingNeededError(Exception):
    """A stage waits for an artefact, and that for weights."""


class _DryRun(Run):
    """A run that makes no artefacts of what would have been trained, or of weights without values.

    Artefacts made before the first stage, such as checked data, are made here too.
    """

    told_a_stage = False

    def once(self, name: str, make: Callable[[Path], None], purpose: str | None = None) -> Path:
        with self._unless_trained(name):
            return super().once(name, make, purpose)

    def once_in_pieces(
        self, name: str, num_pieces: int, make: Callable[[int, Path], None], purpose: str = ""
    ) -> Path:
        with self._unless_trained(name):
            return super().once_in_pieces(name, num_pieces, make, purpose)

    @contextmanager
    def _unless_trained(self, name: str) -> Iterator[None]:
        if self.told_a_stage:
            raise _TrainingNeededError(name)
        try:
            yield
        except RuntimeError as error:
            if "meta tensor" not in str(error):
                raise
            raise _TrainingNeededError(name) from error


def dry_run(
    method: Method, data: Any, held_out: Any, budget: Budget | None, seed: int, say: Any = print
) -> None:
    """Prints the stages that can be told before anything is trained.

    Args:
        method: as it would be trained; it may stand on the meta device, where it takes no memory.
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
                for line in [*_lines(describe(stage)), *_shapes(stage)]:
                    say(line)
                run.told_a_stage = True
        except _TrainingNeededError as artefact:
            say(f"then {artefact} is made, which needs trained weights; more stages follow it")


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
    if "activations" in memory:
        memory["activations of the first forward pass"] = memory.pop("activations")
        unknown = ""
    else:
        unknown = "; activations depend on values"
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in memory.items())
    # without what an operation takes in passing, and what a longer batch would
    yield f"  memory      at least {_bytes(sum(memory.values()))} ({parts}{unknown})"
    work = f"{about['flops_per_step']:.3g} FLOPs" if "flops_per_step" in about else "unknown FLOPs"
    yield f"  work        {work} a step, {about['tokens_per_step']:,.0f} tokens"


def _shapes(stage: Stage) -> Iterator[str]:
    """The tensors of the first forward pass."""
    for name, value in first_batch(stage).items():
        if isinstance(value, Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            yield f"  batch       {name} {list(value.shape)} {kind}"


def _bytes(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} {_UNITS[-1]}"
