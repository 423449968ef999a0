"""UL2: one model learns to denoise in seven ways and is told each time which way it is.

Span corruption, prefix language modelling and language modelling are settings of one operation,
which hides spans of a mean length and a share of a text. Each example draws its setting from seven:
R, short spans and few, which teaches knowledge; S, one span at the end, which teaches to go on; X,
long spans or many, where much is written from little. The inputs begin with a mode, [NLU], [S2S] or
[NLG]. The same mode in front of a prompt calls up the same behaviour later: a text is continued in
S, gaps are filled in R or X. It works in an encoder-decoder and in a decoder that sees its inputs
in both directions. With `--task instruct` the model then learns many prompted tasks at once, as
Flan-UL2 does, and needs no mode any more.

Deviations from the paper:
1. The number of spans is rounded up or down at random and they may stand anywhere, so that mean
   length and ratio hold at every length; T5's rounding is `t5_spans`.
2. A window holds one text, or a part of it; of a window that is too long for the denoiser that was
   drawn a random stretch is taken. The released data joins texts.
3. AdamW with a linear schedule instead of Adafactor with an inverse square root.
4. A decoder has rotary positions (Llama's layout), which other tools load; the paper's are T5's.

| field | content |
| --- | --- |
| text | raw text of any length |
| input, target | a prompt and its answer, for `--task instruct` |
| task | the data set of such a pair; tasks are mixed by their sizes, up to a bound |
| choices | answers to choose from, for `rank` |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases import prompted
from pretrial.bases.prompted import Example
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.denoisers import MixtureOfDenoisers, Pair
from pretrial.errors import UserError
from pretrial.methods.text.ul2 import building
from pretrial.methods.text.ul2.abilities import Abilities
from pretrial.methods.text.ul2.config import Config
from pretrial.models.architectures.conditional import ConditionalLM
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import token_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "UL2", "Config"]

CARD = Card(
    slug="ul2",
    title="UL2: Unifying Language Learning Paradigms",
    authors="Yi Tay and others",
    year=2022,
    arxiv="2205.05131",
    summary="One model learns seven ways of denoising and is told which one by a mode token",
    baseline="span corruption (T5), prefix and causal language modelling",
    abilities=("generate", "rank", "answer", "score", "encode"),
    fields=(
        Field("text", "raw text of any length"),
        Field("input", "a prompt, for --task instruct", required=False),
        Field("target", "its answer", required=False),
        Field("task", "the data set of such a pair", required=False),
        Field("choices", "answers to choose from, for rank", required=False),
    ),
    claims=(
        Claim(
            "at equal compute 43.6 % above T5 and 76.1 % above a GPT-like model, mean relative"
            " score over nine tasks",
            "(unverified) UL2, ablations",
        ),
        Claim(
            "20 B parameters: above 175 B GPT-3 on zero-shot SuperGLUE, three times T5-XXL on"
            " one-shot summarization",
            "abstract",
        ),
    ),
)


class UL2(Abilities, Method):
    """A model that reads and writes, with a mixture of denoisers to learn from.

    Args:
        config: the settings.
        network: an encoder-decoder or a decoder.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        model: the network as what reads inputs and writes targets.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.model = ConditionalLM(network, tokenizer)
        self.mixture: MixtureOfDenoisers | None = None
        if tokenizer is not None:
            self.mixture = self.mixture_of(config.members(), config.weights)

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. `source` is google/ul2, google/flan-ul2, a T5 or a decoder."""
        if source is not None:
            return cls(*building.load(config, source))
        return cls(config, *building.from_scratch(config, data))

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """See `prompted.read_examples`."""
        return prompted.read_examples(rows)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Draws a denoiser for each window of token ids; see `ConditionalLM.batch`."""
        assert self.mixture is not None
        return self._batch(self.mixture, examples, generator)

    def _batch(
        self, mixture: MixtureOfDenoisers, windows: Sequence[list[int]], generator: torch.Generator
    ) -> Batch:
        pairs = mixture.pairs(windows, generator)
        closed = [Pair(pair.inputs, [*pair.targets, self.model.end]) for pair in pairs]
        return self.model.batch(closed, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the targets."""
        return self.model.losses(batch)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage: of denoising, or of instruction tuning."""
        if self.config.task == "instruct":
            data, held_out = self._pairs(run.data), self._pairs(run.held_out)
            yield self._stage("instruct", self.model, run, data, held_out)
            return
        assert self.mixture is not None
        windows, aside = (
            token_windows(
                run, name, prompted.texts_of(part), self.model.tokenizer, self.mixture.window
            )
            for name, part in (("data", run.data), ("held-out", run.held_out))
        )
        if not windows:
            raise UserError("there is no text to learn from: give rows with 'text'")
        yield self._stage("pretrain", self, run, windows, aside)

    def _pairs(self, examples: Sequence[Example]) -> Sequence[Pair]:
        config = self.config
        return prompted.task_mixture(
            self.model,
            examples,
            config.most_per_task,
            head=self.head(config.instruct_mode),
            max_inputs=config.max_inputs,
            max_targets=config.max_targets,
        )

    def _stage(
        self, name: str, module: Any, run: Run, data: Sequence[Any], held_out: Sequence[Any]
    ) -> Stage:
        config = self.config
        if not data:
            raise UserError(f"there is nothing to {name} on: give rows with 'input' and 'target'")
        evaluate = partial(held_out_losses, module, held_out, config.batch_size)
        return Stage(
            name,
            module,
            data,
            run.budget,
            optim=self._optim(),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=evaluate if len(held_out) else None,
            evaluate_every=config.evaluate_every,
        )

    def _optim(self) -> Optim | tuple[Optim, ...]:
        config = self.config
        others = Optim(config.lr, config.weight_decay, warmup=config.warmup)
        if config.embedding_lr_ratio == 1 or config.architecture != "encoder_decoder":
            return others
        own = r"\bshared\.weight$"
        lr = config.lr * config.embedding_lr_ratio
        return replace(others, lr=lr, match=own), replace(others, match=f"^(?!.*{own})")

    def export(self) -> PreTrainedModel:
        """The network: `T5ForConditionalGeneration`, or a decoder of Llama's layout."""
        return self.model.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers."""
        building.save(self.model, folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        verbs = ("Return", "Print", "Close", "Copy", "Write down")
        nouns = ("the list", "a file", "each name", "the number of items", "an open socket")
        rows: list[dict[str, Any]] = []
        for verb in verbs:
            for noun in nouns:
                rows.append(
                    {"text": f"{verb} {noun} and then look at {noun}, and at all the others."}
                )
        return rows
