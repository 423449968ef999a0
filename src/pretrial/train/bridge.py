"""Puts a method under `transformers.Trainer`, for those who have their own way of training.

    trainer = Trainer(
        model=TrainerModel(method),
        args=TrainingArguments(..., remove_unused_columns=False),
        train_dataset=examples,
        data_collator=TrainerCollator(method, seed=0),
        callbacks=[after_step(method)],
    )

Two things are lost against our loop: with gradient accumulation each micro-batch counts alike, also
where their numbers of tokens differ; and what is drawn for corruption is not taken up on a resume.
"""

from __future__ import annotations

from collections.abc import Sequence
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
