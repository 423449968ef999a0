"""Fine-tuning with the labels in the data: its settings, its stage, and the classifier it gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from pretrial.bases.examples import Example
from pretrial.checkpoints.parts import has_part, load_parts, load_value, save_parts
from pretrial.data.rows import mapped, where
from pretrial.errors import UserError
from pretrial.evaluate.finetune import likeliest
from pretrial.models.architectures.classifier import Classifier
from pretrial.train.batches import fitting
from pretrial.train.budget import Budget
from pretrial.train.method import Method
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run


@dataclass(frozen=True)
class Finetuning:
    """Settings of fine-tuning with the labels in the data.

    Attributes:
        finetune_ratio: share of the budget spent on fine-tuning; 0 has no such stage, 1 has no
            other: a classifier from scratch.
        finetune_lr: peak learning rate of that stage.
        finetune_warmup: steps of its warm-up, or a share of the stage when below 1.
        finetune_batch_size: examples a step of that stage, where as many have labels.
    """

    finetune_ratio: float = 0.0
    finetune_lr: float = 1e-3
    finetune_warmup: float = 0.1
    finetune_batch_size: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.finetune_ratio <= 1:
            raise UserError(f"finetune_ratio must be from 0 to 1, not {self.finetune_ratio}")


class FinetunedMethod(Method):
    """A method that pre-trains, then fine-tunes a classifier where the settings ask for it.

    Its examples are those of `bases.examples`, of which some have a label. A subclass gives the
    ability `classifier`.

    Args:
        config: the settings, with those of `Finetuning`.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        trained_classifier: the classifier, once the stage of fine-tuning has begun; else None.
    """

    finetune_schedule: ClassVar[Literal["linear", "cosine"]] = "linear"

    def __init__(self, config: Any, classes: Sequence[Any] = ()) -> None:
        super().__init__(config)
        self.classes = list(classes)
        self.trained_classifier: Classifier | None = None

    def new_classifier(self) -> Classifier:
        """What fine-tuning trains: a new head on a copy of the encoder, for all classes."""
        raise NotImplementedError(f"{type(self).__name__} has no classifier")

    def labelled(self, examples: Sequence[Example]) -> Sequence[tuple[Example, int]]:
        """The examples with a known label, and its class."""
        place = {label: number for number, label in enumerate(self.classes)}
        known = where(examples, lambda each: each.label in place)
        return mapped(known, lambda _, each: (each, place[each.label]))

    def finetuning(self, run: Run, budget: Budget) -> Stage:
        """The stage of a new classifier, which is `trained_classifier` from here on.

        Its head depends on the run's seed alone, whatever was drawn before.
        """
        with torch.random.fork_rng():
            torch.manual_seed(run.generator("classifier").initial_seed())
            self.trained_classifier = self.new_classifier()
        return self.finetuning_of(self.trained_classifier, run, budget)

    def finetuning_of(self, classifier: Classifier, run: Run, budget: Budget) -> Stage:
        """A stage of any classifier over the labelled examples of a run."""
        config, data = self.config, self.labelled(run.data)
        size, micro = fitting(
            config.finetune_batch_size, config.micro_batch_size, len(data), run.world.size
        )
        return Stage.of(
            "finetune",
            classifier,
            data,
            config,
            budget=budget,
            held_out=self.labelled(run.held_out),
            optim=Optim(
                config.finetune_lr,
                config.weight_decay,
                warmup=config.finetune_warmup,
                schedule=self.finetune_schedule,
            ),
            batch_size=size,
            micro_batch_size=micro,
            purpose="finetune",
        )

    def classify(self, examples: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The likeliest label of each example and its probability.

        Raises:
            UserError: the run was not fine-tuned.
        """
        return likeliest(self.trained_classifier, self.classes, examples)

    def save_classifier(self, folder: Path) -> None:
        """Writes the classifier and its classes, where there is one."""
        if self.trained_classifier is not None:
            save_parts(folder, {"classifier": self.trained_classifier, "classes": self.classes})

    def load_classifier(self, folder: str | Path) -> None:
        """Takes over a classifier that was saved, unless the data has classes that it lacks."""
        if not has_part(folder, "classifier"):
            return
        classes = load_value(folder, "classes")
        if set(self.classes) <= set(classes):
            self.classes = classes
            self.trained_classifier = self.new_classifier()
            load_parts(folder, {"classifier": self.trained_classifier})


def classes_of(examples: Sequence[Example] | None) -> list[Any]:
    """The labels in the data, sorted by their names."""
    return sorted({each.label for each in examples or () if each.label is not None}, key=str)


def check_classes(num_classes: int) -> None:
    """Makes sure that there are enough to tell apart.

    Raises:
        UserError: there are fewer than two.
    """
    if num_classes < 2:
        raise UserError(
            f"the data has {num_classes} label(s), too few to fine-tune on: name their field with"
            " --fields label=OTHER, or set finetune_ratio to 0"
        )
