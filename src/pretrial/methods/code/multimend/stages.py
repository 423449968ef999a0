"""The last checkpoints of a training, kept in the folder of the run.

Each is written when its part of the budget is spent. A run that goes on after a stop writes the
same ones again, or finds them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from pretrial.train import checkpoint
from pretrial.train.budget import Budget
from pretrial.train.run import Run

_SET = "weights"


def keeper(run: Run, budget: Budget, num_parts: int, num_kept: int) -> Callable[[nn.Module], None]:
    """A function to call with the model after every step, which keeps it where a part ends.

    Args:
        run: its folder takes the checkpoints, its spending says where a part ends.
        budget: of the training.
        num_parts: parts of it; the end of the last is the trained model itself and not kept.
        num_kept: of the others the last so many are kept.
    """
    parts = range(num_parts - num_kept, num_parts)

    def keep(model: nn.Module) -> None:
        done = run.spent.total(budget.unit) / budget.amount
        for part in parts:
            folder = run.folder / "checkpoints" / str(part)
            if done >= part / num_parts and not folder.exists():
                weights = checkpoint.weights_of(model)  # all processes hold parts, where sharded
                run.world.on_first(partial(checkpoint.write, folder, {_SET: weights}, {}))

    return keep


def kept(run: Run, model: Any, num_parts: int, num_kept: int) -> list[nn.Module]:
    """The checkpoints that were kept, the oldest first, as models like `model`.

    Those of a training too short for so many parts are not there.
    """
    found = []
    for part in range(num_parts - num_kept, num_parts):
        folder = run.folder / "checkpoints" / str(part)
        if folder.exists():
            older = copy.deepcopy(model)
            checkpoint.load_weights(older, checkpoint.read_tensors(folder, _SET), folder)
            found.append(older)
    return found
