"""E2S2: a sequence-to-sequence model goes on learning, with work for its encoder as well.

BART and T5 learn on the decoder's side only: a text with spans hidden is written back. Here a
second view of the text is made, in which a few windows of three neighbours are shuffled and a few
tokens replaced on top of the masks. The text is written from both views; a linear layer on the
encoder's last states says which tokens of the noisy view have moved or were replaced; and the
vectors of the two views of a text must be nearer to each other than to those of other texts. The
model's layout stays what it was. `diagnose` repeats the study that led here: what is lost by
fine-tuning with one side fresh or frozen, and what share of its feed-forward units is active.

Deviations from the paper and its release (WHU-ZQH/E2S2):
 1. Losses are means: over written tokens, over tokens, over texts. That is the release's sum with
    its rescaling of the contrast, divided by the number of tokens.
 2. Two masks never touch, and inserted ones never make a text longer; shuffled windows do not
    overlap. Shares are exact where the release draws each token by itself.
 3. A token counts as moved only if another one stands in its place, and is never replaced by
    itself. The class "moved" is trained, padding counts nowhere, masks are never overwritten, and
    both views of a row are of one text: in the release, each of these is otherwise.
 4. A window holds one text or a part of it; the release joins texts.
 5. For T5 (in the paper, not in the release) what is written is the hidden spans.
 6. In prompt pooling the decoder writes from the wrapped source too.

| field | content |
| --- | --- |
| text | raw text of any length |
| target | what is to be written for it, such as a label; only `diagnose` reads it |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrial.card import Card, Claim, Field
from pretrial.data.rows import mapped, require, text_in
from pretrial.methods.text.e2s2 import building
from pretrial.methods.text.e2s2.abilities import Abilities, Example, texts_of
from pretrial.methods.text.e2s2.config import Config
from pretrial.models.architectures.seq2seq import shifted
from pretrial.objectives.contrastive import nt_xent
from pretrial.objectives.tokens import token_loss
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import token_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "E2S2", "Config", "Example"]

CARD = Card(
    slug="e2s2",
    title="E2S2: Encoding-Enhanced Sequence-to-Sequence Pretraining for Language Understanding and"
    " Generation",
    authors="Zhong and others",
    year=2022,
    arxiv="2205.14912",
    summary="A sequence-to-sequence model whose encoder learns too: noise to find, views to match",
    baseline="text infilling alone (BART's objective)",
    abilities=("generate", "encode", "diagnose", "classify"),
    fields=(
        Field("text", "raw text of any length"),
        Field("target", "what is to be written for it; for diagnose only", required=False),
    ),
    claims=(
        Claim("GLUE average 1.1 points above BART's", "abstract"),
        Claim("CoLA 2.3 points above BART's", "(secondary) table of GLUE"),
        Claim("CoNLL-2014 F0.5 1.75 points above BART's", "abstract"),
    ),
)


class E2S2(Abilities, Method):
    """A BART or T5 and, while it is trained, a head that finds noise in its encoder's states.

    Args:
        config: the settings.
        model: the network.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        encoder_token_head: from a state to the classes of a token; None where nothing asks for it.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, model: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.model = model
        self.tokenizer = tokenizer
        # without the contrast there may be micro-batches
        self.compares_examples = config.contrast_weight > 0  # type: ignore[misc]
        self.encoder_token_head = (
            nn.Linear(model.config.d_model, 1 + config.num_noises)
            if config.denoise_weight
            else None
        )

    @classmethod
    def build(
        cls,
        config: Any,
        source: str | Path | None = None,
        data: Sequence[Example] | None = None,
    ) -> Self:
        """See `Method.build`. `source` is a BART or T5 checkpoint, such as facebook/bart-base.

        With neither source nor data there is no tokenizer, only the network.
        """
        if source is None:
            texts = None if data is None else texts_of(data)
            return cls(*building.from_scratch(config, texts))
        method = cls(*building.load(config, source))
        building.load_head(method.encoder_token_head, source)
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """Texts and, where there are any, targets."""
        require(rows, ("text",))
        return mapped(rows, _example)

    # Training

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """The views of windows of token ids; `Views.batch` tells the fields."""
        return self.views.batch(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The sum of what the weights ask for, and its parts.

        Both views, which are of one shape, go through the networks together.
        """
        config, counts = self.config, batch["counts"]
        size, mask = len(batch["labels"]), batch["attention_mask"]
        ids = torch.cat([batch[name] for name in config.views])  # [views * B, T]
        masks = mask.repeat(len(config.views), 1)
        states = self.model.get_encoder()(input_ids=ids, attention_mask=masks).last_hidden_state
        by_view = dict(zip(config.views, states.split(size), strict=True))
        weights = {"masked": config.masked_weight, "noisy": config.noisy_weight}
        written = {name: weights[name] for name in config.views if weights[name]}

        parts: dict[str, Tensor] = {}
        logits = self._logits(torch.cat([by_view[name] for name in written]), batch, len(written))
        for name, own in zip(written, logits.split(size), strict=True):
            targets = batch["labels"].flatten()
            parts[f"{name}_loss"] = token_loss(own.flatten(0, 1), targets, counts["targets"])
        total = sum(weight * parts[f"{name}_loss"] for name, weight in written.items())
        if self.encoder_token_head is not None:
            parts["denoise_loss"] = self.denoise_loss(by_view["noisy"], batch)
            total = total + config.denoise_weight * parts["denoise_loss"]
        if config.contrast_weight:
            noisy, masked = (self.pool(by_view[name], mask) for name in ("noisy", "masked"))
            temperature, count = config.temperature, counts["examples"]
            parts["contrast_loss"] = nt_xent(noisy, masked, temperature, count)
            total = total + config.contrast_weight * parts["contrast_loss"]
        return {"loss": torch.as_tensor(total), **parts}

    def _logits(self, states: Tensor, batch: Batch, num_views: int) -> Tensor:
        """What the decoder predicts from the states of so many views [views * B, U, V]."""
        return self.model(
            encoder_outputs=(states,),
            attention_mask=batch["attention_mask"].repeat(num_views, 1),
            decoder_input_ids=shifted(self.model, batch["labels"]).repeat(num_views, 1),
            use_cache=False,
        ).logits

    def denoise_loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of what became of each token of the noisy view; states [B, T, d]."""
        assert self.encoder_token_head is not None
        states = F.dropout(states, self.config.dropout_prob, self.training)
        logits = self.encoder_token_head(states).flatten(0, 1)
        return token_loss(logits, batch["kinds"].flatten(), batch["counts"]["sources"])

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the windows of the texts."""
        config = self.config
        windows, held_out = (
            token_windows(run, name, texts_of(part), self.tokenizer, self.views.length)
            for name, part in (("data", run.data), ("held-out", run.held_out))
        )
        evaluate = partial(held_out_losses, self, held_out, config.batch_size)
        yield Stage(
            "train",
            self,
            windows,
            run.budget,
            optim=Optim(
                config.lr,
                config.weight_decay,
                betas=(0.9, 0.98),  # train.sh
                eps=1e-6,  # train.sh
                warmup=config.warmup,
                clip_norm=0.0,  # train.sh
            ),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=evaluate if held_out else None,
            evaluate_every=config.evaluate_every,
        )

    def export(self) -> Any:
        """`BartForConditionalGeneration`, or `T5ForConditionalGeneration`, without the head."""
        return self.model

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, the head beside them."""
        building.save(self, folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = ("Return", "Print", "Close", "Copy", "Write down")
        nouns = ("the list", "a file", "each name", "the number of items", "an open socket")
        return [
            {"text": f"{verb} {noun} and then look at {noun} once more.", "target": verb}
            for verb in verbs
            for noun in nouns
        ]


def _example(number: int, row: dict[str, Any]) -> Example:
    target = row.get("target")
    return Example(text_in(row, number), "" if target is None else str(target))
