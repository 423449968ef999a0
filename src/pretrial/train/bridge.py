"""Puts a method under `transformers.Trainer`, for those who have their own way of training.

    loaded = discover.load("mlm")
    examples = loaded.method.read(rows)
    method = loaded.method.build(loaded.config.small(), data=examples)
    run = Run("runs/mine", examples, budget=Budget(300, "steps"))
    for stage in method.stages(run):
        trainer = Trainer(
            model=TrainerModel(stage.module),
            args=TrainingArguments(
                "runs/mine/trainer",
                max_steps=300,
                per_device_train_batch_size=stage.batch_size,
                remove_unused_columns=False,
            ),
            train_dataset=stage.data,
            data_collator=TrainerCollator(stage.module, seed=0),
            callbacks=[after_step(stage.module)],
        )
        trainer.train()
    method.save(Path("runs/mine/model"))

What is learned from is the data of a stage, such as windows of token ids, and not the examples.
Two things are lost against our loop: with gradient accumulation each micro-batch counts alike, also
where their numbers of tokens differ; and what is drawn for corruption is not taken up on a resume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.train.stage import Batch, Trainable


class TrainerModel(nn.Module):
    """A module whose forward takes a batch as keywords and returns its losses.

    Attributes:
        accepts_loss_kwargs: False tells the Trainer to divide the loss by its accumulation steps,
            which it would leave out because forward takes any keyword.
    """

    accepts_loss_kwargs = False

    def __init__(self, module: Trainable) -> None:
        super().__init__()
        self.module = module

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        return self.module.losses(batch)

    def _tied(self) -> dict[str, str]:
        """Further names of parameters that have several, and the first name of each."""
        first: dict[int, str] = {}
        named = self.named_parameters(remove_duplicate=False)
        found = {name: first.setdefault(id(value), name) for name, value in named}
        return {name: other for name, other in found.items() if name != other}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Tied weights under one name, since the Trainer writes no others into its checkpoints."""
        state = super().state_dict(*args, **kwargs)
        for name in self._tied():
            state.pop(name, None)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """See `state_dict`."""
        names = self._tied().items()
        tied = {name: state_dict[first] for name, first in names if first in state_dict}
        return super().load_state_dict({**state_dict, **tied}, *args, **kwargs)


class TrainerCollator:
    """Turns examples into a batch, with randomness from one seeded generator."""

    def __init__(self, module: Trainable, seed: int) -> None:
        self.module = module
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, examples: Sequence[Any]) -> Batch:
        """See Trainable.batch."""
        return self.module.batch(examples, self.generator)


def after_step(module: Trainable) -> Any:
    """A callback of the Trainer that calls `Trainable.after_step` where our loop does."""
    from transformers import TrainerCallback

    class AfterStep(TrainerCallback):
        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            module.after_step()

    return AfterStep()
