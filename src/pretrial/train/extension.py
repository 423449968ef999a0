"""Training on behind the end of a run: its last stage once more, with another stretch of schedule.

What the last stage gave is trained further, on the data that follows in its stream. Its learning
rate had come to its end, and its optimiser's moments are gone with it. So the rate rises anew over
the first tenth of the extension, to half of its peak, and falls to its end as before (rewarming and
decaying again, as Ibrahim and others 2024, arXiv 2403.08763, whose peak is the whole one, for data
that is new); one that stays constant rises to the whole peak. An extension is a stage of its own,
so that one which was stopped goes on bit for bit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pretrial.train import checkpoint
from pretrial.train.budget import Budget
from pretrial.train.stage import Optim, Stage

_PEAK = 0.5  # of the stage's own, to which the rate rises
_WARMUP = 0.1  # of the extension
_MARK = ".extended-"


@dataclass(frozen=True)
class Extensions:
    """What a run was extended by.

    Attributes:
        stage: the last one of the run, which is trained further.
        budgets: of the extensions, in their order.
    """

    stage: str
    budgets: tuple[Budget, ...]

    def stages(self, stage: Stage, num_steps: int) -> list[Stage]:
        """The extensions of a stage; none where it is not the last.

        Args:
            stage: of the run.
            num_steps: that it took.
        """
        if stage.name != self.stage:
            return []
        optim = tuple(_again(optim) for optim in stage.optims)
        return [
            dataclasses.replace(
                stage,
                name=f"{stage.name}{_MARK}{number}",
                budget=budget,
                optim=optim if len(optim) > 1 else optim[0],
                first_example=num_steps * stage.batch_size,
            )
            for number, budget in enumerate(self.budgets, 1)
        ]

    def told(self, stage: Stage) -> str:
        """What an extension does with the learning rate."""
        rates = " and ".join(f"{optim.lr:.2g}" for optim in stage.optims)
        end = "stays there" if stage.optims[0].schedule == "constant" else "falls as before"
        return (
            f"{stage.name}: {self.stage} is trained on for {stage.budget.amount:g}"
            f" {stage.budget.unit}; the learning rate rises to {rates} in the first"
            f" {_WARMUP:.0%} and {end}"
        )


def last_stage(folder: Path) -> str:
    """The stage that the run in a folder ended with; "" where none is finished."""
    ends = {
        path.parent.parent.name: checkpoint.read_object(path, "journal")["journal"]
        for path in folder.glob(f"stages/*/done/{checkpoint.STATE}")
        if _MARK not in path.parent.parent.name
    }
    return max(ends, key=ends.__getitem__, default="")


def is_done(folder: Path, number: int) -> bool:
    """Whether that extension of the run in a folder has been trained; they count from 1."""
    return (folder / "stages" / f"{last_stage(folder)}{_MARK}{number}" / "done").exists()


def _again(optim: Optim) -> Optim:
    peak = optim.lr if optim.schedule == "constant" else _PEAK * optim.lr
    return dataclasses.replace(optim, lr=peak, warmup=_WARMUP)
