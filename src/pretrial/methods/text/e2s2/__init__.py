"""E2S2: a sequence-to-sequence model goes on learning, with work for its encoder as well.

BART and T5 learn on the decoder's side only: a text with spans hidden is written back. Here a
second view of the text is made, in which a few windows of three neighbours are shuffled and a few
tokens replaced on top of the masks. The text is written from both views; a linear layer on the
encoder's last states says which tokens of the noisy view have moved or were replaced; and the
vectors of the two views of a text must be nearer to each other than to those of other texts. The
model's layout stays what it was. `diagnose` repeats the study that led here: what is lost by
fine-tuning with one side fresh or frozen, and what share of its feed-forward units is active.

Deviations from the paper and its release (WHU-ZQH/E2S2):
 1. Losses are means: over written tokens, over tokens of the source, over texts. The release
    divides all its sums by the written tokens; its rescaling of the contrast gives the mean over
    texts again, and `--denoise-mean targets` its classification of tokens.
 2. Two masks never touch, and inserted ones never make a text longer; shuffled windows do not
    overlap. Shares are exact where the release draws each token by itself.
 3. There is as much noise as the paper says: windows for 5 % of the tokens, of which 8 % then
    stand elsewhere, and 5 % replaced. The release's flags only switch its noise on: its code moves
    2 to 5 % and replaces 15 %, masks too, which is `--noise release`.
 4. A token counts as moved only if another one stands in its place, and is never replaced by
    itself. The class "moved" is trained, padding counts nowhere, masks are never overwritten, and
    both views of a row are of one text: in the release, each of these is otherwise.
 5. A window holds one text or a part of it; the release joins texts.
 6. For T5 (in the paper, not in the release) what is written is the hidden spans.
 7. In prompt pooling the decoder writes from the wrapped source too.

| field | content |
| --- | --- |
| text | raw text of any length |
| target | what is to be written for it, such as a label; only `diagnose` reads it |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

from pretrial.bases.language_model import TextToTextMethod
from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.parts import has_part, load_parts, load_value, save_parts
from pretrial.data.rows import mapped, read_as
from pretrial.errors import UserError
from pretrial.methods.text.e2s2.config import Config
from pretrial.methods.text.e2s2.data import Example, Views
from pretrial.models.architectures.framed_texts import encode_sources, prompt_states
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import shifted
from pretrial.models.architectures.text_encoder import mean_of
from pretrial.objectives.contrastive import nt_xent
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Optim, Stage

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


_HEAD, _CLASSES = "encoder_token_head", "encoder_token_classes"


class E2S2(TextToTextMethod):
    """A BART or T5 and, while it is trained, a head that finds noise in its encoder's states.

    Attributes:
        encoder_token_head: from a state to the classes of a token; None without `denoise_weight`.
    """

    Config: ClassVar[type] = Config
    kinds: ClassVar[Mapping[str, Any]] = {
        "bart": BartForConditionalGeneration,
        "t5": T5ForConditionalGeneration,
    }
    known: ClassVar[str] = "facebook/bart-base or google/t5-v1_1-base"
    num_sentinels: ClassVar[int] = 100
    beside: ClassVar[str] = f"{_HEAD}."  # released checkpoints may hold it

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        # without the contrast there may be micro-batches
        self.compares_examples = config.contrast_weight > 0  # type: ignore[misc]
        self.encoder_token_head = (
            nn.Linear(network.config.d_model, 1 + config.num_noises)
            if config.denoise_weight
            else None
        )

    def new_language_model(self, network: Any, tokenizer: Any) -> TextToText:
        """What writes; sources and targets have one bound."""
        return TextToText(network, tokenizer, self.config.max_length, self.config.max_length)

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """As BART's, or as T5's with its sentinels."""
        if config.architecture == "t5":
            more = {"template": "$A </s>"} | more
        return super().vocabulary(config, data, **more)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`.

        Raises:
            UserError: it is neither a BART nor a T5, or its tokenizer lacks what is needed.
        """
        config, network, tokenizer = super().load(config, source)
        kind = network.config.model_type
        if kind == "bart" and tokenizer.mask_token_id is None:
            raise UserError(f"the tokenizer of {source} has no mask token: give a BART's own")
        return replace(config, architecture=kind), network, tokenizer

    def adopt(self, source: str | Path) -> None:
        """Takes the head of a folder of ours, if it is for as many kinds of noise."""
        head = self.encoder_token_head
        if head is None or not has_part(source, _HEAD):
            return
        if load_value(source, _CLASSES) == head.out_features:
            load_parts(source, {_HEAD: head})

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, the head beside them."""
        super().save(folder)
        head = self.encoder_token_head
        if head is not None:
            save_parts(folder, {_HEAD: head, _CLASSES: head.out_features})

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """Texts and, where there are any, targets; see `read_as`."""
        return mapped(read_as(rows, Example), lambda _, own: replace(own, target=str(own.target)))

    @staticmethod
    def text_of(example: Example | str) -> str:
        """The text of an example, which may be the text itself."""
        return example if isinstance(example, str) else example.text

    @classmethod
    def parts(cls, example: Example) -> Iterable[str]:
        """The text alone: targets are for `diagnose`."""
        return (example.text,)

    @cached_property
    def views(self) -> Views:
        """What makes batches."""
        return Views(self.tokenizer, self.config)

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
        states = self.network.get_encoder()(input_ids=ids, attention_mask=masks).last_hidden_state
        by_view = dict(zip(config.views, states.split(size), strict=True))
        weights = {"masked": config.masked_weight, "noisy": config.noisy_weight}
        written = {name: weights[name] for name in config.views if weights[name]}

        parts: dict[str, Tensor] = {}
        logits = self._logits(torch.cat([by_view[name] for name in written]), batch, len(written))
        for name, own in zip(written, logits.split(size), strict=True):
            targets = batch["labels"].flatten()
            parts[f"{name}_loss"] = token_loss(own.flatten(0, 1), targets, counts["targets"])
        # L = L_nll(masked view) + L_nll(noisy view) + lambda_de L_de + lambda_cl L_cl, weighted
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
        return self.network(
            encoder_outputs=(states,),
            attention_mask=batch["attention_mask"].repeat(num_views, 1),
            decoder_input_ids=shifted(self.network, batch["labels"]).repeat(num_views, 1),
            use_cache=False,
        ).logits

    def denoise_loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of what became of each token of the noisy view; states [B, T, d]."""
        assert self.encoder_token_head is not None
        states = F.dropout(states, self.config.dropout_prob, self.training)
        logits = self.encoder_token_head(states).flatten(0, 1)
        count = batch["counts"][self.config.denoise_mean]
        return token_loss(logits, batch["kinds"].flatten(), count)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the windows of the texts."""
        yield self.stage_on_windows("train", run, run.budget, self.views.length)

    def optim(self) -> Optim:
        """As in train.sh."""
        return Optim.of(self.config, betas=(0.9, 0.98), eps=1e-6, clip_norm=0.0)

    @property
    def max_written(self) -> int:
        """One token less than is read."""
        return int(self.config.max_length - 1)

    # Use

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Sentence vectors [B, d] of states [B, T, d] whose mask is 1 at tokens [B, T]."""
        return (prompt_states if self.config.pooling == "prompt" else mean_of)(states, mask)

    def encode(self, examples: Sequence[Example | str], batch_size: int = 64) -> Tensor:
        """One vector a text [N, d] by the encoder, pooled as in training."""
        texts, most = [self.text_of(each) for each in examples], self.config.max_length
        sources = self.views.frame.sources(self.tokenizer, texts, most)
        pad = self.language_model.pad
        return encode_sources(self.network, sources, pad, self.pool, batch_size)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        rows = super().sample_rows()
        return [{"text": row["source"], "target": row["target"]} for row in rows]
