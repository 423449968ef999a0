"""From a stage's data to the micro-batches of a step."""

from __future__ import annotations

import torch

from pretrial.errors import UserError
from pretrial.train.device import to_device
from pretrial.train.distributed import World
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of
from pretrial.train.stage import Batch, Stage


class Order:
    """The endless stream over `num_examples` examples: one permutation after another.

    The permutation of an epoch depends on (seed, epoch) only, so all arms of a trial see the data
    in the same order, and any position can be found again without walking there.
    """

    def __init__(self, num_examples: int, seed: int, shuffle: bool) -> None:
        self.num_examples = num_examples
        self.seed = seed
        self.shuffle = shuffle
        self._epoch = -1
        self._indices = torch.arange(num_examples)

    def take(self, start: int, count: int) -> list[int]:
        """Indices of the examples at positions `start` to `start + count - 1` of the stream."""
        taken: list[int] = []
        while len(taken) < count:
            epoch, offset = divmod(start + len(taken), self.num_examples)
            if self.shuffle and epoch != self._epoch:
                generator = torch.Generator().manual_seed(seed_of(self.seed, "epoch", epoch))
                self._indices = torch.randperm(self.num_examples, generator=generator)
                self._epoch = epoch
            taken += self._indices[offset : offset + count - len(taken)].tolist()
        return taken


def micro_batch_size(stage: Stage, num_processes: int) -> int:
    """Examples a forward pass.

    Raises:
        UserError: the batch cannot be divided so, or is larger than the data.
    """
    share = stage.batch_size // num_processes
    if stage.module.compares_examples and stage.micro_batch_size not in (None, share):
        raise UserError(
            f"stage {stage.name!r}: its loss compares the examples of a batch with one another, so"
            f" micro_batch_size must stay {share}: lower batch_size to save memory"
        )
    size = stage.micro_batch_size or share or 1
    if stage.batch_size % (size * num_processes):
        raise UserError(
            f"stage {stage.name!r}: batch_size {stage.batch_size} must be a multiple of"
            f" micro_batch_size {size} times {num_processes} process(es)"
        )
    if not len(stage.data):
        raise UserError(
            f"stage {stage.name!r}: its data is empty: give rows that have something to learn from"
        )
    if len(stage.data) < stage.batch_size:
        raise UserError(
            f"stage {stage.name!r}: its data has {len(stage.data)} examples, fewer than batch_size"
            f" {stage.batch_size}: give more data or a batch_size of at most {len(stage.data)}"
        )
    return size


def fitting(
    batch_size: int, micro_batch_size: int | None, num_examples: int, num_processes: int
) -> tuple[int, int | None]:
    """A step and a forward pass for data that may be smaller than a step.

    A step is then as many whole forward passes in every process as the data fill.

    Args:
        batch_size: examples of a step where the data allow.
        micro_batch_size: examples of a forward pass; None or 0 takes a process's share at once.
        num_examples: of the data.
        num_processes: of the run.

    Returns:
        `batch_size` and `micro_batch_size` of the stage.
    """
    if num_examples >= batch_size:
        return batch_size, micro_batch_size or None
    share = max(1, num_examples // num_processes)
    micro = min(micro_batch_size or share, share)
    together = micro * num_processes
    return max(1, num_examples // together) * together, micro


class Batches:
    """Makes the micro-batches of any step of a stage, in this process.

    Processes take the step's examples in consecutive blocks. Every micro-batch of every process
    holds the counts of the whole step.
    """

    def __init__(self, stage: Stage, run: Run) -> None:
        self.stage = stage
        self.run = run
        self.micro = micro_batch_size(stage, run.world.size)
        self.order = Order(len(stage.data), run.seed, stage.shuffle)
        self._generator = torch.Generator()
        self._names: list[str] = []

    def of_step(self, step: int) -> tuple[list[tuple[int, Batch]], dict[str, float]]:
        """(position of the first example, micro-batch) of one step, and the step's counts."""
        stage, run = self.stage, self.run
        share = stage.batch_size // run.world.size
        begin = stage.first_example + step * stage.batch_size + run.world.rank * share
        data, make = stage.data, stage.module.batch
        batches = []
        sums: dict[str, float] = {}
        for start in range(begin, begin + share, self.micro):
            examples = [data[index] for index in self.order.take(start, self.micro)]
            self._generator.manual_seed(seed_of(run.seed, stage.name, start))
            batch = make(examples, self._generator)
            counts = batch.get("counts", {})
            if "examples" not in counts:
                raise UserError(
                    f"{type(stage.module).__name__}.batch must return counts with the number of"
                    ' examples: batch["counts"] = {"examples": float(len(examples)), ...}'
                )
            for name, count in counts.items():
                sums[name] = sums.get(name, 0.0) + float(count)
            batches.append((start, batch))
        if run.world.size > 1:
            sums = self._over_processes(sums, run.world)
        if run.device.type != "cpu":
            batches = [(start, to_device(batch, run.device)) for start, batch in batches]
        for _, batch in batches:
            batch["counts"] = sums
        return batches, sums

    def _over_processes(self, sums: dict[str, float], world: World) -> dict[str, float]:
        if not self._names:
            self._names = sorted(set().union(*world.gather(list(sums))))
        unknown = sums.keys() - set(self._names)
        if unknown:
            raise UserError(
                f"{type(self.stage.module).__name__}.batch must give the same counts from the first"
                f" step on: {', '.join(sorted(unknown))} came later"
            )
        totals = world.sum([sums.get(name, 0.0) for name in self._names])
        return dict(zip(self._names, totals, strict=True))
