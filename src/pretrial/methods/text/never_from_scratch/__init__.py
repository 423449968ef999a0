"""Never Train from Scratch: sequence classifiers first learn from their own task's inputs.

Architectures for long sequences are compared by training them on labels from random weights. That
favours those whose initialisation suits such data, above all state spaces. Here the encoder is
first trained on the inputs of the same training set, without labels and without other data: to
name hidden entries, or each next one. Its decoder is dropped, a head on the mean of the last states
takes its place, and labels do the rest. With it plain attention comes up to state spaces, and a
randomly initialised state space to one that began as its theory says. Attention and four state
spaces (S4, S4D, DLR, Mamba) stand ready; sequences are bytes of a text, tokens, numbers, or the
pixels of an image row after row.

Deviations from the paper and its release:
1. Norms are layer norms; some released settings have batch norms, which mix the sequences of a
   batch.
2. Exactly round(ratio n) of the n entries are hidden, or as many spans as cover them.
3. Pre-training to name the next entry teaches the first of a kernel's two directions; the other one
   comes in with the labels, as attention to later positions does.
4. Both directions of a kernel hold the present; in the release the second begins one position on.
   Every feature has states of its own in S4 and S4D; some released settings share them.
5. Mamba is none of the paper's; it reads forwards alone, and its width inside is doubled.
6. Tasks of two sequences, such as matching documents, are left out.
7. `objective="validation"` trains a masked and a causal encoder with half of the budget each, and
   held-out accuracy chooses.

| field | content |
| --- | --- |
| tokens | a list of tokens, or a text with blanks between them |
| signal | or a list of numbers |
| image | or an image, read as grey pixels row after row |
| text | or a text, read byte by byte |
| label | its class; not needed to classify |
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import nn

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_pretrained
from pretrial.data.rows import chosen, where
from pretrial.errors import UserError
from pretrial.methods.text.never_from_scratch.config import Config
from pretrial.methods.text.never_from_scratch.data import (
    Example,
    code,
    read_examples,
    settings_of,
)
from pretrial.methods.text.never_from_scratch.network.encoder import (
    LongSequenceForSequenceClassification,
)
from pretrial.methods.text.never_from_scratch.network.handover import hand_over
from pretrial.methods.text.never_from_scratch.stages import (
    Pretrainer,
    SequenceClassifier,
    chance_warning,
    optims,
)
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.seeds import seed_of
from pretrial.train.stage import Stage, Trainable

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "NeverFromScratch"]

CARD = Card(
    slug="never_from_scratch",
    title="Never Train from Scratch: Fair Comparison of Long-Sequence Models Requires Data-Driven"
    " Priors",
    authors="Amos and others",
    year=2023,
    arxiv="2310.02980",
    summary="A sequence classifier first learns from its own task's inputs, without labels",
    baseline="the same networks trained from scratch",
    abilities=("classify",),
    fields=(
        Field("tokens", "a list of tokens, or a text with blanks between them"),
        Field("signal", "or a list of numbers", required=False),
        Field("image", "or an image, read as grey pixels row after row", required=False),
        Field("text", "or a text, read byte by byte", required=False),
        Field("label", "its class", required=False),
    ),
    claims=(
        Claim(
            "Pre-trained on the task's own inputs, Transformers match S4 on Long Range Arena",
            "Table 2",
        ),
        Claim("The best figure of state spaces on PathX-256 rises by 20 points", "Table 2"),
        Claim("Structured initialisation of state spaces becomes mostly redundant", "Table 7"),
        Claim(
            "Path-X: 88.05 of a Transformer that first learnt to name the next pixel",
            "(secondary) IdoAmos/not-from-scratch, issue 1; its author was left at chance",
        ),
    ),
)


class NeverFromScratch(Method):
    """A classifier of sequences. See the module's text.

    Args:
        config: the settings.
        network: the classifier.

    Attributes:
        network: what is trained in the end.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: LongSequenceForSequenceClassification) -> None:
        super().__init__(config)
        self.network: Any = network

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. A checkpoint decides sizes, vocabulary and labels."""
        kind = LongSequenceForSequenceClassification
        if source is not None:
            network: Any = load_pretrained(kind, source)
            return cls(config.sized_as(network.config), network)
        inputs = settings_of(data, config.max_length) if data else {}
        return cls(config, kind(config.sequence_config(**inputs)))

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """See `read_examples`."""
        return read_examples(rows)

    # -- training ---------------------------------------------------------------------------------

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training and fine-tuning, once or for two objectives; or fine-tuning alone."""
        yield from self.stages_within(run, run.budget)

    def stages_within(self, run: Run, budget: Budget, prefix: str = "") -> Iterator[Stage]:
        """The stages, within a part of a run.

        Args:
            run: gives data, held-out data and the seed.
            budget: of all stages together.
            prefix: of their names.
        """
        config = self.config
        run = self._coded(run)
        if config.objective == "none":
            yield from self._finetune(f"{prefix}finetune", run, budget)
            return
        both = config.objective == "validation"
        if both and not run.held_out:
            raise UserError(
                'objective="validation" needs held-out data: give --held-out or a --held-out-ratio'
            )
        objectives: tuple[Literal["masked", "causal"], ...] = ("masked", "causal")
        wanted = objectives if both else (config.objective,)
        budgets = iter(
            budget.split((config.pretrain_ratio, 1 - config.pretrain_ratio) * len(wanted))
        )
        initial, ends = copy.deepcopy(self.network), []
        for objective in wanted:
            self.network = copy.deepcopy(initial)
            with torch.random.fork_rng():  # the draws of a decoder, whatever was drawn before
                torch.manual_seed(seed_of(run.seed, prefix, objective))
                pretrainer = Pretrainer(self.network.encoder, objective, config)
            yield self._stage(f"{prefix}pretrain-{objective}", pretrainer, run, next(budgets))
            hand_over(pretrainer.encoder, self.network.encoder)  # the decoder is dropped
            name = f"{prefix}finetune-{objective}" if both else f"{prefix}finetune"
            yield from self._finetune(name, run, next(budgets))
            ends.append(self.network)
        if both:
            self.network = ends[self._choose(run, ends, prefix)]

    def _coded(self, run: Run) -> Run:
        """The run over coded sequences with a label, of held-out data one that is known."""
        data = where(run.data, lambda example: example.label is not None)
        if without := len(run.data) - len(data):
            run.say(f"{without} sequences without a label are left out")
        count = max(1, round(self.config.data_ratio * len(data)))
        known = set(self.network.config.id2label.values())  # a small split may have others
        aside = where(run.held_out, lambda example: example.label in known)
        if missing := len(run.held_out) - len(aside):
            run.say(f"{missing} held-out sequences are left out: training has none of their label")
        first = chosen(data, range(count))
        return run.over(*(code(part, self.network.config) for part in (first, aside)))

    def _finetune(self, name: str, run: Run, budget: Budget) -> Iterator[Stage]:
        """The stage on labels; says so if it ends at chance."""
        classifier = SequenceClassifier(self.network)
        stage = self._stage(name, classifier, run, budget)
        found: dict[str, float] = {}
        if stage.evaluate is not None:
            stage.evaluate = partial(_remembered, stage.evaluate, found)
        yield stage
        if found:
            told = chance_warning(found["right_ratio"], [each.label for each in run.held_out])
            if told:
                run.say(f"{name}: {told}")

    def _stage(self, name: str, module: Trainable, run: Run, budget: Budget) -> Stage:
        return Stage.of(
            name,
            module,
            run.data,
            self.config,
            budget=budget,
            held_out=run.held_out,
            optim=optims(self.config),
        )

    def _choose(self, run: Run, networks: Sequence[Any], prefix: str) -> int:
        """Number of the network with the best held-out accuracy; of several the lowest loss."""

        def make(folder: Path) -> None:
            scores = []
            for network in networks:
                classifier = SequenceClassifier(network)
                found = held_out_losses(classifier, run.held_out, self.config.batch_size)
                scores.append((found["right_ratio"], -found["loss"]))
            (folder / "choice.json").write_text(json.dumps(scores.index(max(scores))))

        folder = run.once(f"{prefix}choice", make, "evaluate")
        return int(json.loads((folder / "choice.json").read_text()))

    # -- use --------------------------------------------------------------------------------------

    def classify(
        self, examples: Sequence[Example], *, batch_size: int = 64
    ) -> Iterator[dict[str, Any]]:
        """The likeliest label of each sequence, and its probability.

        Args:
            examples: rows with tokens, a signal, an image or a text; labels are not looked at.
            batch_size: sequences a forward pass.
        """
        classifier, names = SequenceClassifier(self.network), self.network.config.id2label
        coded = code([each._replace(label=None) for each in examples], self.network.config)
        for start in range(0, len(coded), batch_size):
            entries = [each.entries for each in coded[start : start + batch_size]]
            probs, labels = classifier.logits(entries, batch_size).softmax(-1).max(-1)
            for prob, label in zip(probs.tolist(), labels.tolist(), strict=True):
                yield {"label": names[label], "label_prob": round(prob, 6)}

    def export(self) -> nn.Module:
        """The classifier, `LongSequenceForSequenceClassification`."""
        return self.network

    def save(self, folder: Path) -> None:
        """The classifier, in the layout of transformers; its config holds vocabulary and labels."""
        self.network.save_pretrained(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """See `Method.sample_rows`."""
        nouns = ("list", "file", "name", "socket")
        return [
            {"text": text, "label": label}
            for noun in nouns
            for number in range(3)
            for text, label in (
                (f"open the {noun} {number}", "open"),
                (f"close {number} {noun}s now", "close"),
            )
        ]


def _remembered(measure: Any, found: dict[str, float]) -> dict[str, float]:
    """What a measurement gives, kept in `found` too."""
    found.update(measure())
    return dict(found)
