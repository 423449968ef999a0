"""Masked language modelling: an encoder learns to name the tokens that were hidden from it.

15 % of the tokens of a text are chosen. Most of them become a mask token, some a random token, some
stay; the encoder, which sees the whole text in both directions, names the original token at every
chosen position. It is BERT's objective, and what ELECTRA is put on trial against, so the encoder is
ELECTRA's: that of BERT, with embeddings that may be narrower than its hidden states.

Deviations from the paper:
1. Next-sentence prediction is left out, as later work did; a window holds one text, or a part of
   it, and one segment.
2. Exactly round(0.15 n) of the n ordinary tokens are chosen, without replacement, anew each time
   that a text comes up.
3. Sizes, schedule and batch are those of ELECTRA's comparison, which trains BERT at three sizes.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import (
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForSequenceClassification,
    PreTrainedModel,
)

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_tokenizer
from pretrial.convert.electra import load_electra
from pretrial.corrupt.masks import chosen_of, mask_windows
from pretrial.data.rows import texts
from pretrial.errors import UserError
from pretrial.models.architectures.electra_pair import masked_logits
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import (
    Pooling,
    classifier_from,
    encode,
    token_vectors,
)
from pretrial.models.tokenizers import learn_bpe
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import token_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

CARD = Card(
    slug="mlm",
    title="BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    authors="Devlin and others",
    year=2018,
    arxiv="1810.04805",
    summary="An encoder learns to name the tokens that were hidden from it (BERT's objective)",
    baseline="the same encoder without pre-training",
    abilities=("encode", "classify"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim(
            "GLUE dev 75.1 (small) and 82.2 (base) in ELECTRA's comparison",
            "Clark and others 2020, Table 1",
        ),
    ),
)


@dataclass(frozen=True)
class Config:
    """Settings of masked language modelling, by default those of ELECTRA-small's comparison.

    Sections are those of ELECTRA's paper (2003.10555); files are those of google-research/electra.

    Attributes:
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        embedding_size: of a token.
        width: hidden size of the encoder.
        num_layers: of the encoder.
        num_heads: of the encoder.
        feed_forward: inner width of the encoder's feed-forward layers.
        num_positions: longest sequence that the encoder can read.
        max_length: tokens of a training sequence, the two special ones included.
        dropout_prob: of hidden states and attention.
        mask_ratio: share of the ordinary tokens that is chosen.
        mask_prob: share of the chosen that becomes the mask token.
        random_prob: share of the chosen that becomes a random token; the rest stays.
        lr: peak learning rate.
        warmup: steps of warm-up, or a share of the budget when below 1.
        weight_decay: of the weights.
        batch_size: sequences a step.
        micro_batch_size: sequences a forward pass; 0 takes the whole batch.
        evaluate_every: steps between evaluations on held-out data; 0 is at the end only.
    """

    vocab_size: int = 30522  # configure_pretraining.py
    embedding_size: int = 128  # section 3.3
    width: int = 256  # section 3.3
    num_layers: int = 12  # training_utils.py
    num_heads: int = 4  # training_utils.py
    feed_forward: int = 1024  # training_utils.py
    num_positions: int = 512  # modeling.py
    max_length: int = 128  # section 3.3
    dropout_prob: float = 0.1  # modeling.py
    mask_ratio: float = 0.15  # configure_pretraining.py
    mask_prob: float = 0.8  # section 3.5, what its two 10 % leave
    random_prob: float = 0.1  # section 3.5
    lr: float = 5e-4  # configure_pretraining.py
    warmup: float = 10_000  # configure_pretraining.py
    weight_decay: float = 0.01  # configure_pretraining.py
    batch_size: int = 128  # section 3.3
    micro_batch_size: int = 0
    evaluate_every: int = 0

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"small": 14e6, "base": 110e6, "large": 335e6}

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=300,
            embedding_size=16,
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            num_positions=32,
            max_length=24,
            dropout_prob=0.0,
            lr=3e-3,
            warmup=2,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """1.1 M parameters, for a megabyte of text: minutes on two cores."""
        return cls(
            vocab_size=2048,
            embedding_size=128,
            width=128,
            num_layers=4,
            num_heads=4,
            feed_forward=512,
            num_positions=64,
            max_length=64,
            lr=1e-3,
            warmup=0.1,
            batch_size=32,
        )

    @classmethod
    def paper(cls, name: str = "small") -> Self:
        """The published sizes: "small" (14 M parameters), "base" (110 M), "large" (335 M)."""
        base = cls(
            embedding_size=768,
            width=768,
            num_heads=12,
            feed_forward=3072,
            max_length=512,
            lr=2e-4,
            batch_size=256,
        )
        large = replace(
            base,
            embedding_size=1024,
            width=1024,
            num_layers=24,
            num_heads=16,
            feed_forward=4096,
            batch_size=2048,
        )
        if name not in (sizes := {"small": cls(), "base": base, "large": large}):
            raise UserError(f"published sizes are {', '.join(sizes)}, not {name!r}")
        return sizes[name]

    def network_config(self, pad_id: int) -> ElectraConfig:
        """The encoder's sizes in transformers' terms."""
        return ElectraConfig(
            vocab_size=self.vocab_size,
            embedding_size=self.embedding_size,
            hidden_size=self.width,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.feed_forward,
            max_position_embeddings=self.num_positions,
            hidden_dropout_prob=self.dropout_prob,
            attention_probs_dropout_prob=self.dropout_prob,
            pad_token_id=pad_id,
        )

    def sized_as(self, network: ElectraConfig) -> Self:
        """The same settings with the sizes of an encoder that was loaded."""
        return replace(
            self,
            vocab_size=network.vocab_size,
            embedding_size=network.embedding_size,
            width=network.hidden_size,
            num_layers=network.num_hidden_layers,
            num_heads=network.num_attention_heads,
            feed_forward=network.intermediate_size,
            num_positions=network.max_position_embeddings,
            max_length=min(self.max_length, network.max_position_embeddings),
        )


class MLM(Method):
    """An encoder with a head that names tokens.

    Args:
        config: the settings.
        sizes: of the encoder, in transformers' terms.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        encoder: the network, head included.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, sizes: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.tokenizer = tokenizer
        self.encoder: Any = self.network_class(config)(sizes)

    @staticmethod
    def network_class(config: Any) -> type[PreTrainedModel]:
        """The class of the encoder."""
        return ElectraForMaskedLM

    @staticmethod
    def load(source: str | Path) -> tuple[PreTrainedModel, Any]:
        """The network and the tokenizer of a checkpoint."""
        return load_electra(source), load_tokenizer(source)

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[str] | None = None
    ) -> Self:
        """See `Method.build`. With neither source nor data there is no tokenizer, only networks.

        A checkpoint decides the sizes and gives its encoder; a head that it lacks begins at random.
        """
        if source is not None:
            network, tokenizer = cls.load(source)
            method = cls(config.sized_as(network.config), network.config, tokenizer)
            method.adopt(network, source)
            return method
        if data is None:
            return cls(config, config.network_config(pad_id=0))
        tokenizer = learn_bpe(data, config.vocab_size, template="<cls> $A <sep>")
        config = replace(config, vocab_size=len(tokenizer))
        return cls(config, config.network_config(tokenizer.pad_token_id), tokenizer)

    def adopt(self, network: Any, source: str | Path) -> None:
        """Takes over a loaded network, or its encoder alone where the head is of another kind."""
        if type(network) is type(self.encoder):
            self.encoder = network
        else:
            self.encoder.electra.load_state_dict(network.electra.state_dict())

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[str]:
        """The texts of the rows."""
        return texts(rows)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Masks windows of token ids; `mask_windows` tells the fields."""
        return mask_windows(
            examples,
            self.tokenizer,
            generator,
            ratio=self.config.mask_ratio,
            mask_prob=self.config.mask_prob,
            random_prob=self.config.random_prob,
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy over the chosen positions."""
        right = chosen_of(batch["labels"], batch)  # [N]
        return {"loss": token_loss(self.logits(batch), right, batch["counts"]["masked"])}

    def logits(self, batch: Batch) -> Tensor:
        """What is predicted at the chosen positions [N, V]."""
        return masked_logits(self.encoder, batch)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the windows of the texts."""
        yield self.stage("train", run, run.budget)

    def stage(self, name: str, run: Run, budget: Budget) -> Stage:
        """A stage over the windows of the run's texts; see `token_windows`."""
        config = self.config
        length = config.max_length - 2
        windows = token_windows(run, "data", run.data, self.tokenizer, length)
        held_out = token_windows(run, "held-out", run.held_out, self.tokenizer, length)
        evaluate = partial(held_out_losses, self, held_out, config.batch_size)
        return Stage(
            name,
            self,
            windows,
            budget,
            optim=Optim(config.lr, config.weight_decay, eps=1e-6, warmup=config.warmup),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=evaluate if held_out else None,
            evaluate_every=config.evaluate_every,
        )

    def encode(self, texts: Sequence[str]) -> Tensor:
        """One vector a text: the mean of the last hidden states over its tokens [N, d]."""
        return encode(self.encoder.base_model, self.tokenizer, texts, self.config.max_length)

    def token_vectors(self, texts: Sequence[str]) -> list[tuple[Tensor, list[tuple[int, int]]]]:
        """For each text the last hidden states of its tokens [T, d] and their places."""
        return token_vectors(self.encoder.base_model, self.tokenizer, texts, self.config.max_length)

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier on a copy of the encoder; its head reads the first token, or all of them."""
        kind = ElectraForSequenceClassification
        model = classifier_from(self.encoder.base_model, kind, num_labels, pooling)
        return TextClassifier(model, self.tokenizer, self.config.max_length)

    def export(self) -> PreTrainedModel:
        """The encoder with its head, `ElectraForMaskedLM`."""
        return self.encoder

    def save(self, folder: Path) -> None:
        """The encoder and the tokenizer, in the layout of transformers."""
        self.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = ("Return", "Print", "Close", "Copy", "Write down")
        nouns = ("the list", "a file", "each name", "the number of items", "an open socket")
        return [
            {"text": f"{verb} {noun} and then look at {noun}."} for verb in verbs for noun in nouns
        ]
