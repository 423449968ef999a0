"""Further pre-training with self-distillation: a model fits a small data set and stays itself.

A pre-trained encoder is to be fine-tuned on data unlike what it has seen. Pre-training it further
on that data, without labels, helps up to a point and then overfits, since the data are few. So it
is done twice. The first time gives a teacher. The second time starts again from the initial
weights, learns the same objective, and is also pulled to the teacher's features of whole inputs:
the student learns the data and ends nearer to where it began. Then it is fine-tuned. Images are
learned by a masked autoencoder, texts by a masked language model.

`--init` names what the encoder starts from. Evaluation reports how far the weights have gone
(`distance`), and by how much the loss on held-out data is above that on as much training data
(`gap`); with labels in both, also the accuracy of a linear classifier on frozen features.

Deviations from the paper and its release (seanie12/self-distillation):
1. The stages share the budget equally, in whatever unit it is; a student's step, which also reads
   whole inputs twice, costs several times a teacher's.
2. For texts the paper's pooling is not known to us: the state of the first token, as for images.
3. The learning rate falls linearly to 0 in every stage, as in the release; the gradient is not
   clipped in pre-training and clipped to 1 in fine-tuning.

| field | content |
| --- | --- |
| image | path, array or picture; see `data.media.image` |
| text | instead of an image: raw text of any length |
| label | class of it, for fine-tuning; rows may lack it |
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from pretrial.bases.examples import Example, read_examples
from pretrial.bases.finetuning import FinetunedMethod, check_classes, classes_of
from pretrial.bases.patch_encoder.data import sample_images
from pretrial.bases.self_supervised import new_learner
from pretrial.card import Card, Claim, Field
from pretrial.data.rows import mapped
from pretrial.errors import require_packages
from pretrial.evaluate.probe import probe
from pretrial.methods.adapt.further_pretraining.config import Config
from pretrial.objectives.distances import squared_distance
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.stage import Batch, Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "FurtherPretraining"]

CARD = Card(
    slug="further_pretraining",
    title="Self-Distillation for Further Pre-training of Transformers",
    authors="Lee and others",
    year=2022,
    arxiv="2210.02871",
    summary="Pre-train on, then again from the start with the first result as a teacher",
    baseline="further pre-training alone",
    abilities=("encode", "classify"),
    fields=(
        Field("image", "path, array or picture"),
        Field("text", "instead of an image: raw text", required=False),
        Field("label", "class, for fine-tuning", required=False),
    ),
    claims=(
        Claim(
            "a Vision Transformer overfits as it is pre-trained further on little data", "abstract"
        ),
        Claim(
            "self-distillation comes out above all baselines compared, on images and texts",
            "abstract",
        ),
    ),
)


class FurtherPretraining(FinetunedMethod):
    """An encoder, where it began, and while it is a student its teacher.

    Args:
        learner: the network that learns without labels; it is trained in place.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        frozen: "initial", the learner as it was, and "teacher", once there is one.
    """

    Config: ClassVar[type] = Config

    def __init__(self, learner: Any, classes: Sequence[Any] = ()) -> None:
        super().__init__(learner.config, classes)
        self.learner = learner

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build` and, for what a source may be, `new_learner`."""
        method = cls(new_learner(config, source, data), classes_of(data))
        if source is not None:
            method.load_classifier(source)
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The images or texts of the rows, with their labels."""
        return read_examples(rows, ("image", "text"))

    # -- training ---------------------------------------------------------------------------------

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """What the learner's own loss and its features need; of texts the examples are windows."""
        return self.learner.batch(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The self-supervised loss and, of a student, the distance of its features."""
        config, learner, count = self.config, self.learner, batch["counts"]["examples"]
        parts = {"ssl_loss": learner.losses(batch)["loss"]}
        total = parts["ssl_loss"]
        if "teacher" in self.frozen:
            # trainer.py: L = L_ssl + lambda ||h(student, x) - sg h(teacher, x)||^2, of whole inputs
            with torch.no_grad():
                wanted = self.teacher.features(batch)
            parts["distill_loss"] = feature_loss(learner.features(batch), wanted, count)
            total = total + config.distill_weight * parts["distill_loss"]
        if config.l2_weight:
            # each example pays its share, so that micro-batches add up to the whole
            num = len(batch["pixels"] if "pixels" in batch else batch["input_ids"])
            parts["l2_loss"] = self._squared_distance() * num / count
            total = total + config.l2_weight * parts["l2_loss"]
        return {"loss": total, **parts}

    @property
    def teacher(self) -> Any:
        """The frozen learner that a student learns from."""
        return self.frozen["teacher"]

    @property
    def initial(self) -> Any:
        """The frozen learner as it was before training."""
        return self.frozen["initial"]

    def _squared_distance(self) -> Tensor:
        return squared_distance(self.learner.network.base_model, self.initial.network.base_model)

    @torch.no_grad()
    def distance(self) -> float:
        """Euclidean distance of the encoder's weights from the initial ones; 0 before training."""
        return float(self._squared_distance().sqrt()) if "initial" in self.frozen else 0.0

    def stages(self, run: Run) -> Iterator[Stage]:
        """The teacher, then each student from the initial weights, then fine-tuning."""
        config, budget = self.config, run.budget
        if config.finetune_ratio:
            check_classes(len({each.label for each in run.data} & set(self.classes)))
        share = budget.amount * (1 - config.finetune_ratio) / (1 + config.rounds)
        self.trained_classifier = None
        self.frozen["initial"] = copy.deepcopy(self.learner)
        names = ["teacher" if config.rounds else "further"]
        names += [f"student-{number}" for number in range(1, 1 + config.rounds)]
        for number, name in enumerate(names):
            if number:
                self.frozen["teacher"] = copy.deepcopy(self.learner)
                if config.start == "initial":  # and not from the teacher's weights
                    self.learner.load_state_dict(self.initial.state_dict(keep_vars=True))
            yield self._pretraining(name, run, Budget(share, budget.unit))
        if config.finetune_ratio:
            yield self.finetuning(run, Budget(budget.amount * config.finetune_ratio, budget.unit))

    def _pretraining(self, name: str, run: Run, budget: Budget) -> Stage:
        config, (data, held_out) = self.config, self.learner.prepared(run)
        learn, aside = self.labelled(run.data), self.labelled(run.held_out)
        if learn and aside:
            require_packages("sklearn")  # of the linear classifier in `evaluate`
        return Stage.of(
            name,
            self,
            data,
            config,
            budget=budget,
            optim=Optim.of(config, betas=(0.9, 0.95), clip_norm=0.0),  # trainer.py
            evaluate=partial(self.evaluate, data, held_out, learn, aside),
            purpose="pretrain",
        )

    def evaluate(
        self,
        trained_on: Sequence[Any],
        held_out: Sequence[Any],
        labelled: Sequence[tuple[Example, int]],
        labelled_aside: Sequence[tuple[Example, int]],
    ) -> dict[str, float]:
        """What to watch while few data are learned: overfitting, and how far the weights have gone.

        Args:
            trained_on: what the stage is trained on, as `batch` takes it.
            held_out: what is not.
            labelled: examples and their classes, to fit a linear classifier of features to.
            labelled_aside: others, to measure it on.

        Returns:
            "distance" of the encoder's weights from the initial ones; with held-out data its losses
            and "gap", by how much its self-supervised loss is above that on as much training data;
            with labels "probe_accuracy".
        """
        numbers, size = {"distance": self.distance()}, self.config.batch_size
        if held_out:
            numbers |= held_out_losses(self, held_out, size)
            known = held_out_losses(self, trained_on[: len(held_out)], size)
            numbers["gap"] = numbers["ssl_loss"] - known["ssl_loss"]
        if labelled and labelled_aside:
            (vectors, places), (others, wanted) = (
                (np.asarray(self.encode(mapped(pairs, _first))), [place for _, place in pairs])
                for pairs in (labelled, labelled_aside)
            )
            numbers["probe_accuracy"] = float(np.mean(probe(vectors, places, others) == wanted))
        return numbers

    # -- abilities --------------------------------------------------------------------------------

    def encode(self, examples: Sequence[Any], *, batch_size: int = 64) -> Tensor:
        """One vector each [N, d], of images or texts: the state of the first token, on the CPU.

        Args:
            examples: as `read` gives them, or bare images or texts.
            batch_size: of a forward pass.
        """
        return self.learner.encode(examples, batch_size=batch_size)

    def classifier(self, num_labels: int, pooling: str = "first") -> Any:
        """A classifier on a copy of the encoder; it reads the first token whatever `pooling` is."""
        return self.learner.classifier(num_labels)

    def new_classifier(self) -> Any:
        """See `FinetunedMethod`."""
        return self.classifier(len(self.classes))

    @property
    def processor(self) -> Any:
        """How transformers prepares images for what `export` gives; None for texts."""
        return getattr(self.learner, "processor", None)

    def export(self) -> Any:
        """The classifier; where nothing was fine-tuned, a `ViTModel` or masked language model."""
        if self.trained_classifier is None:
            return self.learner.export()
        model: Any = self.trained_classifier.model
        model.config.id2label = {place: str(name) for place, name in enumerate(self.classes)}
        model.config.label2id = {str(name): place for place, name in enumerate(self.classes)}
        return model

    def save(self, folder: Path) -> None:
        """The network with its self-supervised head, tokenizer, and the classifier beside them."""
        self.learner.save(folder)
        self.save_classifier(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """See `Method.sample_rows`."""
        return sample_images()


def _first(_: int, pair: tuple[Any, Any]) -> Any:
    return pair[0]


def feature_loss(student: Tensor, teacher: Tensor, count: float) -> Tensor:
    """Squared distance of features, summed over their dimensions; the teacher gets no gradient.

    Args:
        student: [B, d].
        teacher: [B, d].
        count: what the sum over examples is divided by.
    """
    return (student.float() - teacher.detach().float()).square().sum() / count
