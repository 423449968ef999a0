"""How a model is fine-tuned: the settings."""

from __future__ import annotations

from dataclasses import dataclass

from pretrial.bases.config import Optimisation
from pretrial.bases.plain.heads import Task
from pretrial.bases.plain.kinds import Modality
from pretrial.errors import UserError

_SMALL = 5e6  # parameters


@dataclass(frozen=True)
class FinetuneOptions(Optimisation):
    """How a model is fine-tuned.

    Attributes:
        task: classify rows, tag the words of texts, regress a number, or rank documents for
            queries.
        lr: peak learning rate; 0 chooses among `rates` by the rows held out.
        rates: learning rates to choose from; without any three from 3e-5 to 3e-4, and ten times
            these for a model of less than 5 M parameters.
        rate_examples: examples that each of them is tried on, an epoch at most.
        epochs: passes over the data at most.
        patience: evaluations without a better one on the rows held out before training ends.
        refit: learn once more from the beginning, for all `epochs` and from all rows, those held
            out too: it costs as much again, and no row is left to say how good the result is.
        batch_size: examples a step.
        evaluate_every: steps between evaluations on the rows held out; 0 is once an epoch.
        max_length: tokens of a text that are read; longer ones are cut.
        warmup: steps of warm-up, or a share of the training when below 1.
    """

    task: Task = "classify"
    lr: float = 0.0
    rates: tuple[float, ...] = ()
    rate_examples: int = 1000
    epochs: int = 4
    patience: int = 2
    refit: bool = True
    batch_size: int = 32
    max_length: int = 128
    warmup: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size", "max_length", "rate_examples"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class FinetuneConfig(FinetuneOptions):
    """The same, and what the model tells.

    Attributes:
        modality: what the model reads.
    """

    modality: Modality = "text"

    def rates_for(self, num_parameters: int) -> tuple[float, ...]:
        """Learning rates to choose from, for a model of that size: narrow ones want larger ones."""
        small = num_parameters < _SMALL
        return self.rates or ((3e-4, 1e-3, 3e-3) if small else (3e-5, 1e-4, 3e-4))
