"""The folder of a stage: its checkpoints, and what it gave in the end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from pretrial.errors import UserError
from pretrial.train import checkpoint
from pretrial.train.run import Run
from pretrial.train.stage import Stage


class Store:
    """Reads and writes the checkpoints of one stage, `step-<number>` and `done`."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self.run = run
        self.stage = stage
        self.folder = run.stage_folder(stage.name)
        self.setting = {
            "seed": run.seed,
            "examples": len(stage.data),
            "batch_size": stage.batch_size,
            "micro_batch_size": stage.micro_batch_size,
            "budget": f"{stage.budget.amount:g} {stage.budget.unit}",
            "optim": [repr(optim) for optim in stage.optims],
            "ema": stage.ema,
            "early_stop": repr(stage.early_stop),
            "shuffle": stage.shuffle,
        }

    def read(self, folder: Path) -> dict[str, Any]:
        """A checkpoint's state; its weights are loaded into the stage's module.

        Raises:
            UserError: it was made with other settings or does not fit the module.
        """
        state = checkpoint.read_state(folder, "setting", "journal")
        for name, now in self.setting.items():
            before = state["setting"][name]
            if before != now:
                raise UserError(
                    f"stage {self.stage.name!r} in {self.run.folder} was trained with {name} ="
                    f" {before}, not {now}: change it back, or give another folder"
                )
        weights = checkpoint.read_tensors(folder, "weights")
        checkpoint.load_weights(self.stage.module, weights, folder)
        return state

    def write(
        self,
        name: str,
        tensors: dict[str, checkpoint.Tensors],
        state: dict[str, Any],
        keep: int,
    ) -> None:
        """Writes a checkpoint in the first process, then removes all `step-*` but `keep`."""

        def work() -> None:
            journal = self.run.journal.sync()
            whole = {**state, "setting": self.setting, "journal": journal}
            checkpoint.write(self.folder / name, tensors, whole)
            checkpoint.prune(self.folder, keep)

        self.run.world.on_first(work)


def first_not_finite(weights: checkpoint.Tensors, names: Iterable[str]) -> str | None:
    """The first of the named weights that holds a NaN or an infinity."""
    return next((name for name in names if not torch.isfinite(weights[name]).all()), None)
