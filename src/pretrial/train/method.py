"""The contract of a method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pretrial.train.run import Run
    from pretrial.train.stage import Stage

Batch = dict[str, Any]


class Trainable(nn.Module):
    """What the loop can train: it turns examples into a batch and a batch into losses.

    A stage trains a `Trainable`: the method itself, or a part of it such as a critic.

    Attributes:
        skips_parameters: True where it depends on a micro-batch which parameters its loss goes
            through, or how often: the head of another task may be left out, or a network read once
            for each of the objectives drawn. Several processes must then look for those left out
            each time, and gather sharded weights all at once, not block by block.
        compares_examples: True where the loss of one example depends on the others of its batch,
            as with in-batch negatives. A process's share of a step is then one micro-batch, and
            `losses` gathers what it compares from all processes.
    """

    skips_parameters: ClassVar[bool] = False
    compares_examples: ClassVar[bool] = False

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """Collates and corrupts. All randomness comes from `generator`.

        Returns a dict of tensors, with `batch["counts"]`, a dict of floats: the numbers by which
        `losses` divides its sums ("examples", "tokens", "masked", ...; always with "examples",
        and "tokens" where there are tokens). The loop replaces them by their sums over the
        micro-batches and processes of a step, so that the losses of the parts add up to the loss of
        the whole, whatever the split.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to make a batch")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars, each a sum over the batch divided by one of `batch["counts"]`.

        "loss" is what is minimised; the others are logged under their names.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define its losses")

    def after_step(self) -> None:
        """What follows every optimiser step, such as moving a momentum encoder or a queue.

        The gradients of the step, clipped, are still in place. What changes here and is needed to
        go on must be a buffer, or a parameter outside `frozen`: checkpoints then hold it.
        """


class Method(Trainable):
    """A published method. One file under `methods/` holds one subclass, its Config and its Card.

    Attributes:
        config: the frozen dataclass it was built from.
        frozen: teachers and other modules that are used but never trained; the loop keeps them in
            eval mode and without gradients, and checkpoints leave them out.
    """

    Config: ClassVar[type]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.frozen = nn.ModuleDict()

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """A method ready to train.

        Args:
            config: an instance of the method's Config.
            source: name or folder of a public checkpoint, or a folder written by `save`; None
                starts from scratch.
            data: examples (as `read` returns them), used to learn a vocabulary where there is none.
        """
        raise NotImplementedError(f"{cls.__name__} does not say how it is built")

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """Turns raw rows of data into examples; the default takes rows as they are.

        Raises:
            UserError: a field is missing (it names those found).
        """
        return rows

    def stages(self, run: Run) -> Iterator[Stage]:
        """The stages of the training, in order; the default is one stage over `run.data`."""
        from pretrial.train.stage import Stage

        yield Stage("train", self, run.data, budget=run.budget)

    def export(self) -> nn.Module:
        """What the user keeps: a `PreTrainedModel` where one fits."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it exports")

    def save(self, folder: Path) -> None:
        """Writes everything `build(config, source=folder)` needs: weights, tokenizer, config."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is saved")
