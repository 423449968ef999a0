"""`train --dry-run`: what the stages will need, without training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrial.errors import UserError
from pretrial.train.budget import Budget
from pretrial.train.describe import describe, first_batch
from pretrial.train.distributed import World
from pretrial.train.hardware import Machine
from pretrial.train.method import Method
from pretrial.train.plan import USABLE, mend, plan
from pretrial.train.run import Run
from pretrial.train.stage import Stage

_UNITS = ("B", "kB", "MB", "GB", "TB")
# stands for a budget that was not given: no stage that has one of its own has as little
_OPEN = Budget(1.0, "tokens")


class _TrainingNeededError(Exception):
    """A stage waits for an artefact, and that for weights."""


class _DryRun(Run):
    """A run that makes no artefacts of what would have been trained, or of weights without values.

    Artefacts made before the first stage, such as checked data, are made here too.
    """

    told_a_stage = False

    @property
    def budget(self) -> Budget:
        """That of the run, or `_OPEN`, of which stages take their shares all the same."""
        return self.limit or _OPEN

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


class _PlannedWorld(World):
    """Processes that are not there, as the first of them sees them."""

    def own(self, count: int) -> range:
        return range(count)

    def sum(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def share(self, value: Any) -> Any:
        return value

    def on_first(self, action: Callable[[], None]) -> None:
        action()

    def in_all(self, action: Callable[[], None]) -> None:
        action()


@dataclass(frozen=True)
class Target:
    """Devices to plan for.

    Attributes:
        machine: the devices.
        shard: cut weights over them.
        bf16: compute in bfloat16.
    """

    machine: Machine
    shard: bool
    bf16: bool


def dry_run(
    method: Method,
    data: Any,
    held_out: Any,
    budget: Budget | None,
    seed: int,
    say: Any = print,
    target: Target | None = None,
) -> None:
    """Prints the stages that can be told before anything is trained.

    Args:
        method: as it would be trained; it may stand on the meta device, where it takes no memory.
        data: its examples.
        held_out: those held out.
        budget: of the run; None tells of stages that hang on it without their lengths.
        seed: of the run.
        say: takes each line.
        target: what to plan for; None tells of one process.

    Raises:
        UserError: the devices of `target` are too small; it names what to change.
    """
    too_small: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        run = _DryRun(folder, data, held_out, budget, seed, quiet=True)
        if target is not None:
            machine = target.machine
            run.world = _PlannedWorld(size=machine.gpus, local_size=machine.each)
        try:
            for stage in method.stages(run):
                about = describe(stage, run.world.size)
                if budget is None and stage.budget.unit == _OPEN.unit:
                    _leave_open(about, stage.budget.amount)
                for line in [*_lines(about), *_shapes(stage, run.world.size)]:
                    say(line)
                if target is not None:
                    for line in _planned(stage, about, target, too_small):
                        say(line)
                run.told_a_stage = True
        except _TrainingNeededError as artefact:
            say(f"then {artefact} is made, which needs trained weights; more stages follow it")
    if too_small:
        raise UserError("; ".join(too_small))


def _planned(
    stage: Stage, about: dict[str, Any], target: Target, too_small: list[str]
) -> Iterator[str]:
    """A stage on the devices of `target`; adds to `too_small` what to do where they are."""
    machine = target.machine
    made, cut = (
        plan(stage, about, machine, sharded=sharded, bf16=target.bf16)
        for sharded in (target.shard, True)
    )
    way = "sharded" if made.sharded else "copied"
    yield (
        f"  on {machine.gpus} x {machine.name} in {machine.nodes} node(s), weights {way},"
        f" {'bf16' if target.bf16 else 'fp32'}; see docs/scale.md"
    )
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in made.memory.items() if size)
    room = USABLE * machine.device.memory
    yield f"  each device {_bytes(made.needed)} of {_bytes(room)} usable: {parts}"
    if made.sharded:
        yield f"              {_bytes(made.evaluation)} while it is evaluated"
    yield (
        f"  each step   {_seconds(made.step_seconds)}: products {_seconds(made.compute)}, messages"
        f" {_seconds(made.exchange)}, optimiser {_seconds(made.update)}"
    )
    length = f"  speed       {made.tokens_per_second:,.0f} tokens/s"
    if made.hours is not None:
        length += f"; the stage {made.hours:.3g} h, {made.hours * machine.gpus:.3g} GPU-hours"
    yield length
    wrong = mend(made, cut, machine, about)
    if wrong is not None:
        too_small.append(wrong)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _leave_open(about: dict[str, Any], share: float) -> None:
    """Has a stage told without its length, where that is a share of a budget still to be given."""
    if share <= _OPEN.amount:
        part = "all" if share == _OPEN.amount else f"{share:.0%}"
        about |= {"budget": f"{part} of what --budget will give"}
        about |= {"num_steps": None, "num_epochs": None}


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


def _shapes(stage: Stage, num_processes: int) -> Iterator[str]:
    """The tensors of the first forward pass."""
    for name, value in first_batch(stage, num_processes).items():
        if isinstance(value, Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            yield f"  batch       {name} {list(value.shape)} {kind}"


def _bytes(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} {_UNITS[-1]}"
