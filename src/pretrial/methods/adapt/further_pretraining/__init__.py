"""Further pre-training with self-distillation: a model fits a small data set and stays itself.

A pre-trained encoder is to be fine-tuned on data unlike what it has seen. Pre-training it further
on that data, without labels, helps up to a point and then overfits, since the data are few. So it
is done twice. The first time gives a teacher. The second time starts again from the initial
weights, learns the same objective, and is also pulled to the teacher's features of whole inputs:
the student learns the data and ends nearer to where it began. Then it is fine-tuned. Images are
learnt by a masked autoencoder, texts by a masked language model.

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
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_strict
from pretrial.data.rows import mapped, where
from pretrial.errors import UserError
from pretrial.evaluate.finetune import likeliest
from pretrial.methods.adapt.further_pretraining.config import Config
from pretrial.methods.adapt.further_pretraining.inputs import (
    Example,
    as_example,
    check_input,
    read_examples,
)
from pretrial.methods.adapt.further_pretraining.labeller import Labeller
from pretrial.methods.adapt.further_pretraining.network import Network
from pretrial.methods.adapt.further_pretraining.networks import NETWORKS, kind_of
from pretrial.methods.adapt.further_pretraining.report import evaluate
from pretrial.objectives.features import feature_loss, squared_distance
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import token_windows

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

_CLASSIFIER, _CLASSES = "classifier.safetensors", "classes.json"


class FurtherPretraining(Method):
    """An encoder, where it began, and while it is a student its teacher.

    Args:
        network: is trained in place.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        labeller: the classifier, once fine-tuning has begun; else None.
        frozen: "initial", the network as it was, and "teacher", once there is one.
    """

    Config: ClassVar[type] = Config

    def __init__(self, network: Network, classes: Sequence[Any] = ()) -> None:
        super().__init__(network.config)
        self.network = network
        self.classes = list(classes)
        self.labeller: Labeller | None = None
        self.tokenizer = network.tokenizer

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. `source` is a ViT-MAE, or a masked language model such as RoBERTa.

        With neither source nor data a network for texts has no tokenizer.
        """
        classes = sorted({e.label for e in data or () if e.label is not None}, key=str)
        if source is None:
            return cls(NETWORKS[config.input].fresh(config, data), classes)
        method = cls(NETWORKS[kind_of(source)].load(config, source), classes)
        method._adopt(Path(source))
        return method

    def _adopt(self, folder: Path) -> None:
        """Takes over a classifier that `save` has written, unless the data has other classes."""
        if not (folder / _CLASSIFIER).is_file():
            return
        saved = json.loads((folder / _CLASSES).read_text(encoding="utf-8"))
        if set(self.classes) <= set(saved):
            self.classes = saved
            self.labeller = self.classifier(len(saved))
            load_strict(self.labeller.model, load_file(folder / _CLASSIFIER), folder)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The images or texts of the rows, with their labels."""
        return read_examples(rows)

    # Training

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """See `Network.batch`; for texts the examples are windows of token ids."""
        return self.network.batch(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The self-supervised loss and, of a student, the distance of its features."""
        config = self.config
        parts = {"ssl_loss": self.network.ssl_loss(batch)}
        total = parts["ssl_loss"]
        if "teacher" in self.frozen:
            with torch.no_grad():
                wanted = self.teacher.features(batch)
            count = batch["counts"]["examples"]
            parts["distill_loss"] = feature_loss(self.network.features(batch), wanted, count)
            total = total + config.distill_weight * parts["distill_loss"]
        if config.l2_weight:
            # each example pays its share, so that micro-batches add up to the whole
            num = len(batch["noise"] if "noise" in batch else batch["input_ids"])
            distance = squared_distance(self.network.encoder, self.initial.encoder)
            parts["l2_loss"] = distance * num / batch["counts"]["examples"]
            total = total + config.l2_weight * parts["l2_loss"]
        return {"loss": total, **parts}

    @property
    def teacher(self) -> Any:
        """The frozen network that a student learns from."""
        return self.frozen["teacher"]

    @property
    def initial(self) -> Any:
        """The frozen network as it was before training."""
        return self.frozen["initial"]

    @torch.no_grad()
    def distance(self) -> float:
        """Euclidean distance of the encoder's weights from the initial ones; 0 before training."""
        if "initial" not in self.frozen:
            return 0.0
        return float(squared_distance(self.network.encoder, self.initial.encoder).sqrt())

    def stages(self, run: Run) -> Iterator[Stage]:
        """The teacher, then each student from the initial weights, then fine-tuning."""
        config, labelled = self.config, self._labelled(run.data)
        num_labels = len({each.label for each in run.data} & set(self.classes))
        if config.finetune_ratio and num_labels < 2:
            raise UserError(
                f"the data has {num_labels} label(s), too few to fine-tune on: name their field"
                " with --fields label=OTHER, or set finetune_ratio to 0"
            )
        budget = run.budget
        share = budget.amount * (1 - config.finetune_ratio) / (1 + config.rounds)
        self.labeller = None
        self.frozen["initial"] = copy.deepcopy(self.network)
        names = ["further"] if not config.rounds else ["teacher"]
        names += [f"student-{number}" for number in range(1, 1 + config.rounds)]
        for number, name in enumerate(names):
            if number:
                self.frozen["teacher"] = copy.deepcopy(self.network)
                if config.start == "initial":
                    self.network.load_state_dict(self.initial.state_dict())
            yield self._pretraining(name, run, Budget(share, budget.unit))
        if config.finetune_ratio:
            with torch.random.fork_rng():
                torch.manual_seed(run.generator("classifier").initial_seed())
                self.labeller = self.classifier(len(self.classes))
            rest = Budget(budget.amount * config.finetune_ratio, budget.unit)
            yield self.finetuning(self.labeller, run, labelled, rest)

    def _pretraining(self, name: str, run: Run, budget: Budget) -> Stage:
        config = self.config
        data = self.prepared(run, "data", run.data)
        held_out = self.prepared(run, "held-out", run.held_out)
        labelled, asked = (self._known(part) for part in (run.data, run.held_out))
        return Stage(
            name,
            self,
            data,
            budget,
            optim=Optim(
                config.lr,
                config.weight_decay,
                betas=(0.9, 0.95),  # trainer.py
                warmup=config.warmup,
                clip_norm=0.0,  # trainer.py
            ),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=partial(evaluate, self, data, held_out, labelled, asked),
            evaluate_every=config.evaluate_every,
            purpose="pretrain",
        )

    def finetuning(
        self, labeller: Labeller, run: Run, labelled: Sequence[tuple[Example, int]], budget: Budget
    ) -> Stage:
        """The stage of fine-tuning a labeller on pairs of example and class."""
        config, aside = self.config, self._labelled(run.held_out)
        size = min(config.finetune_batch_size, len(labelled))
        return Stage(
            "finetune",
            labeller,
            labelled,
            budget,
            optim=Optim(config.finetune_lr, config.weight_decay, warmup=config.finetune_warmup),
            batch_size=size,
            evaluate=partial(held_out_losses, labeller, aside, size) if aside else None,
            evaluate_every=config.evaluate_every,
            purpose="finetune",
        )

    def prepared(self, run: Run, name: str, examples: Sequence[Example]) -> Sequence[Any]:
        """Examples as `batch` takes them: texts become windows of token ids.

        Args:
            run: keeps the windows of texts on the disk.
            name: of the examples in the run.
            examples: as `read` gives them.

        Raises:
            UserError: they are not what the network reads.
        """
        check_input(examples, self.network.input)
        if self.network.input == "image":
            return examples
        texts = mapped(examples, lambda _, each: each.content)
        return token_windows(run, name, texts, self.tokenizer, self.config.max_length - 2)

    def _known(self, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples with a known label."""
        return where(examples, lambda each: each.label in self.classes)

    def _labelled(self, examples: Sequence[Example]) -> Sequence[tuple[Example, int]]:
        """The examples with a known label, and its class."""
        place = {label: number for number, label in enumerate(self.classes)}
        return mapped(self._known(examples), lambda _, each: (each, place[each.label]))

    # Abilities

    @torch.no_grad()
    def encode(self, examples: Sequence[Any], *, batch_size: int = 64) -> Tensor:
        """One vector each [N, d], of images or texts: the state of the first token, on the CPU.

        Args:
            examples: as `read` gives them, or bare images or texts.
            batch_size: of a forward pass.
        """
        if not len(examples):
            raise UserError("there is nothing to encode: give at least one example")
        network, training = self.network, self.network.training
        device = next(network.parameters()).device
        network.eval()
        parts = []
        for start in range(0, len(examples), batch_size):
            some = [as_example(e, network.input) for e in examples[start : start + batch_size]]
            inputs = {name: value.to(device) for name, value in network.inputs(some).items()}
            parts.append(network.features(inputs).float().cpu())
        network.train(training)
        return torch.cat(parts)

    def classify(self, examples: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The likeliest label of each example and its probability.

        Raises:
            UserError: the run was not fine-tuned.
        """
        return likeliest(self.labeller, self.classes, examples)

    def classifier(self, num_labels: int, pooling: str = "first") -> Labeller:
        """A classifier on a copy of the encoder; it reads the first token whatever `pooling` is."""
        return Labeller(self.network, num_labels)

    def export(self) -> Any:
        """The classifier; where nothing was fine-tuned, a `ViTModel` or masked language model."""
        if self.labeller is None:
            return self.network.exported()
        model, names = self.labeller.model, [str(name) for name in self.classes]
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: place for place, name in enumerate(names)}
        return model

    def save(self, folder: Path) -> None:
        """The network with its self-supervised head, tokenizer, and the classifier beside them."""
        self.network.model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        if self.labeller is not None:
            save_file(self.labeller.model.state_dict(), folder / _CLASSIFIER)
            (folder / _CLASSES).write_text(json.dumps(self.classes), encoding="utf-8")

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests: a bright square in one of two corners."""
        rows = []
        for number in range(16):
            image = np.random.default_rng(number).integers(0, 90, (8, 8), dtype=np.uint8)
            corner = number % 2 * 4
            image[corner : corner + 4, corner : corner + 4] += 150
            rows.append({"image": image, "label": ("first", "last")[number % 2]})
        return rows
