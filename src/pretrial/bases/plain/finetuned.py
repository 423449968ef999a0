"""Fine-tuning that stays: a checkpoint or run gets a head, and learns the labels of rows.

The learning rate is the one of a few that serves the rows held out best after a thousand examples;
then the model learns with it from the beginning, and the weights of the best epoch on these rows
are kept. Both are stages of the one loop.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases.plain import labelled
from pretrial.bases.plain.config import FinetuneConfig
from pretrial.bases.plain.epochs import Epochs
from pretrial.bases.plain.heads import Task, Tuned, head_class, with_head
from pretrial.bases.plain.judged import Judged, judge, measured
from pretrial.bases.plain.labelled import Labelled
from pretrial.bases.plain.readers import TextReader, load_reader
from pretrial.bases.plain.starts import start_of
from pretrial.card import Card, Field
from pretrial.checkpoints.keys import load_pretrained
from pretrial.train.budget import Budget
from pretrial.train.method import Method
from pretrial.train.stage import EarlyStop, Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

CARD = Card(
    slug="finetuned",
    title="a model that was fine-tuned on labelled data",
    authors="",
    year=0,
    arxiv="",
    summary="A checkpoint or run with a head, fine-tuned on labelled data",
    baseline="the majority, and a linear model on counts",
    abilities=("answer", "encode"),
    fields=(
        Field("text", "what is read; or `image`, `audio`, `words`, or `query` and `document`"),
        Field("label", "the class or the value; or `tags`, or `relevance`", required=False),
    ),
    claims=(),
)


class Finetuned(Method):
    """A model with a head that was trained on labelled rows, here or elsewhere.

    Args:
        config: the settings.
        tuned: the network with its head.

    Attributes:
        classes: names of the classes; none where the model gives a number.
        chosen_lr: the learning rate, once it has been chosen.
        scores: the loss on the rows held out, and the accuracy where there are classes, of what has
            not learnt from them.
    """

    Config: ClassVar[type] = FinetuneConfig
    default_task: ClassVar[str] = "answers"

    def __init__(self, config: FinetuneConfig, tuned: Tuned) -> None:
        super().__init__(config)
        self.tuned = tuned
        self.chosen_lr = config.lr
        self.scores: dict[str, float] = {}

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """See `Method.build`; the source is a folder with a head, of ours or of transformers."""
        assert source is not None
        kind = head_class(config.task, config.modality)
        network = load_pretrained(kind, source)
        reader = load_reader(source, config.modality, config.max_length)
        return cls(config, Tuned(network, reader, config.task))

    @classmethod
    def begin(cls, config: FinetuneConfig, start: Method, classes: Sequence[str]) -> Self:
        """A model with a new head on the encoder of another.

        Args:
            config: the settings.
            start: a run's method, or a plain checkpoint.
            classes: their names; none for one number.

        Raises:
            UserError: see `with_head`.
        """
        network, reader = start_of(start, config)
        pad = getattr(getattr(reader, "tokenizer", None), "pad_token_id", None)
        own = with_head(network, config.task, config.modality, classes, pad)
        return cls(config, Tuned(own, reader, config.task))

    @property
    def task(self) -> Task:
        """What it was fine-tuned for."""
        return self.config.task

    @property
    def classes(self) -> list[str]:
        """See the class."""
        if self.task in ("regress", "rank"):
            return []
        names = self.tuned.network.config.id2label
        return [str(names[number]) for number in sorted(names)]

    @property
    def tokenizer(self) -> Any:
        """Of a model that reads texts; else None."""
        return getattr(self.tuned.reader, "tokenizer", None)

    @property
    def processor(self) -> Any:
        """What prepares images or recordings; None for texts."""
        return getattr(self.tuned.reader, "processor", None)

    def read(self, rows: Sequence[dict[str, Any]]) -> Sequence[Labelled]:  # type: ignore[override]
        """The contents of rows, with their labels where they have any."""
        return labelled.read_rows(rows, self.task, self.config.modality)

    # -- training ---------------------------------------------------------------------------------

    def stages(self, run: Run) -> Iterator[Stage]:
        """A short stage for each learning rate, where several are given; then the training."""
        config = self.config
        learn, held_out = (
            labelled.targets_of(part, self.classes, self.task) for part in (run.data, run.held_out)
        )
        if self.task == "regress":
            self.tuned.standardise([target for _, target in learn])
        if not self.chosen_lr:
            scores = {}
            for rate in config.rates_for(sum(each.numel() for each in self.parameters())):
                trial = copy.deepcopy(self.tuned)
                yield self._stage(f"rate-{rate:g}", trial, run, learn, (), rate, tries=True)
                scores[rate] = self._score(run, f"rate-{rate:g}", trial, held_out)
            self.chosen_lr = min(scores, key=lambda rate: scores[rate])
            run.say(f"learning rate {self.chosen_lr:g}, of {_shown(scores)} on the rows held out")
        start = copy.deepcopy(self.tuned) if config.refit else None
        yield self._stage("finetune", self.tuned, run, learn, held_out, self.chosen_lr)
        self.scores = measured(self.tuned, held_out)
        if start is not None:
            self.tuned.load_state_dict(start.state_dict())
            yield self._stage("refit", self.tuned, run, [*learn, *held_out], (), self.chosen_lr)
        self.tuned.fold()

    def _stage(
        self,
        name: str,
        module: Tuned,
        run: Run,
        learn: Sequence[tuple[Any, Any]],
        held_out: Sequence[tuple[Any, Any]],
        lr: float,
        *,
        tries: bool = False,
    ) -> Stage:
        """A stage over all epochs, which ends early where rows are held out.

        One that `tries` a learning rate takes an epoch at most.
        """
        config = self.config
        size = min(config.batch_size, len(learn))
        lengths = [module.reader.length(content) for content, _ in learn]
        epochs = Epochs(learn, lengths, size, config.epochs, run.seed)
        num_steps = config.epochs * epochs.steps_per_epoch
        if tries:
            num_steps = min(epochs.steps_per_epoch, -(-config.rate_examples // size))
        watch = None
        if held_out and self.classes:  # the share of right answers is what they are wanted for
            watch = EarlyStop("accuracy", config.patience, better="higher")
        elif held_out:
            watch = EarlyStop("loss", config.patience)
        return Stage(
            name,
            module,
            epochs,
            Budget(num_steps, "steps"),
            Optim(lr, config.weight_decay, warmup=config.warmup),
            batch_size=size,
            micro_batch_size=min(config.micro_batch_size, size) or None,
            evaluate=(lambda: measured(module, held_out)) if held_out else None,
            evaluate_every=config.evaluate_every or epochs.steps_per_epoch,
            early_stop=watch,
            purpose="choose a learning rate" if tries else name,
            shuffle=False,  # the epochs have their own order
        )

    @staticmethod
    def _score(run: Run, name: str, module: Tuned, held_out: Sequence[tuple[Any, Any]]) -> float:
        """The loss on the rows held out; it is computed once in a run."""

        def write(folder: Path) -> None:
            (folder / "loss.json").write_text(json.dumps(measured(module, held_out)["loss"]))

        folder = run.once(name, write, purpose="choose a learning rate")
        return float(json.loads((folder / "loss.json").read_text()))

    # -- what it is for ---------------------------------------------------------------------------

    def answer(self, examples: Sequence[Labelled], *, batch_size: int = 64) -> Iterator[Any]:
        """What the model says of each example, with the row's `id`.

        That is `label` and `probability`; of tags `tags` with `probabilities`, one a word and null
        for words behind the longest text that is read; of a regression `value`; and of a query and
        a document `score`, the logit of being relevant.

        Args:
            examples: as `read` gives them.
            batch_size: examples at once; they are grouped by length.
        """
        outputs = self.tuned.outputs([each.content for each in examples], batch_size)
        for each, output in zip(examples, outputs, strict=True):
            yield {"id": each.id, **self._said(each, output)}

    def _said(self, example: Labelled, output: Tensor) -> dict[str, Any]:
        if self.task == "regress":
            return {"value": float(output[0])}
        if self.task == "rank":
            return {"score": float(output[0])}
        best = output.max(-1)
        probs = best.values.exp()
        if self.task == "classify":
            return {
                "label": self.classes[int(best.indices)],
                "probability": round(float(probs), 6),
            }
        unread = [None] * (len(example.content) - len(output))
        return {
            "tags": [*(self.classes[i] for i in best.indices.tolist()), *unread],
            "probabilities": [*(round(p, 6) for p in probs.tolist()), *unread],
        }

    def judged(self, rows: Sequence[dict[str, Any]]) -> Judged:
        """What the model says of rows with labels, and what is right; others are left out.

        Raises:
            UserError: no row has a label, or one has a class that the model does not know.
        """
        examples = [each for each in self.read(rows) if each.target is not None]
        labelled.check_some(examples, rows, self.task)
        labelled.check_known(examples, self.classes, self.task)
        pairs = labelled.targets_of(examples, self.classes, self.task)
        return judge(self.tuned, pairs)

    def classify(self, examples: Sequence[Labelled]) -> Iterator[dict[str, Any]]:
        """`label` and `label_prob`, as the ability of other methods gives them."""
        for row in self.answer(examples):
            yield {"label": row["label"], "label_prob": row["probability"]}

    @torch.no_grad()
    def encode(self, examples: Sequence[Any], *, batch_size: int = 64) -> Tensor:
        """One vector each [N, d]: the mean of the last states beneath the head.

        Args:
            examples: as `read` gives them, or bare contents.
            batch_size: examples at once.
        """
        contents = [getattr(each, "content", each) for each in examples]
        return self.tuned.vectors(contents, batch_size)

    def export(self) -> PreTrainedModel:
        """The network with its head and the names of the classes."""
        return self.tuned.network

    def export_beside(self, folder: Path) -> str:
        """Says how long texts are, where a pipeline would not cut them of itself."""
        reader = self.tuned.reader
        if not isinstance(reader, TextReader) or self.task not in ("classify", "regress"):
            return ""
        return (
            f"It was trained on texts of at most {reader.max_length} tokens. A pipeline cuts longer"
            " ones, as `pretrial predict` does, with"
            ' `transformers.pipeline("text-classification", FOLDER, truncation=True)`.\n'
        )

    def save(self, folder: Path) -> None:
        """The network, and what prepares its inputs, in the layout of transformers."""
        self.tuned.network.save_pretrained(folder)
        self.tuned.reader.save(folder)


def _shown(scores: dict[float, float]) -> str:
    return ", ".join(f"{rate:g} (loss {score:.4g})" for rate, score in scores.items())
