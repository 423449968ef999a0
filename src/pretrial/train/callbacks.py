"""What a caller in Python is told while a run trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

#: Called with the numbers, the name of the stage and the step.
OnNumbers = Callable[[Mapping[str, float], str, int], None]
#: Called with the name of the stage and the module that it trained.
OnStageEnd = Callable[[str, nn.Module], None]

_EVALUATION = "eval/"


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called while a run trains, in its first process.

    They see each row of metrics once, however often the run was stopped. What one raises ends the
    training as any error does: the same call goes on from the newest checkpoint. Drawing from
    torch's or Python's global generators in one changes nothing, since every step seeds them anew.

    Attributes:
        on_log: what a row of metrics.jsonl holds: the means of losses since the last row, learning
            rates, and what was spent.
        on_evaluate: the numbers of an evaluation, by their names without "eval/".
        on_stage_end: a stage has ended, and its weights are on the disk; a stage that an earlier
            process finished is passed over.
    """

    on_log: OnNumbers | None = None
    on_evaluate: OnNumbers | None = None
    on_stage_end: OnStageEnd | None = None

    def log(self, numbers: Mapping[str, float], stage: str, step: int) -> None:
        """Takes a row, as a `log.Tracker` does."""
        own = {name: value for name, value in numbers.items() if not name.startswith(_EVALUATION)}
        measured = {
            name.removeprefix(_EVALUATION): value
            for name, value in numbers.items()
            if name.startswith(_EVALUATION)
        }
        if own and self.on_log is not None:
            self.on_log(own, stage, step)
        if measured and self.on_evaluate is not None:
            self.on_evaluate(measured, stage, step)

    def stage_ended(self, stage: str, module: nn.Module) -> None:
        """Takes the end of a stage."""
        if self.on_stage_end is not None:
            self.on_stage_end(stage, module)
