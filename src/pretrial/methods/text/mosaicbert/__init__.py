"""MosaicBERT: a BERT whose parts were chosen so that pre-training from scratch is cheap.

Positions are linear biases on attention scores (ALiBi), which are not learned and reach beyond the
length of training. Feed-forward layers are gated. Padding is taken out of the batch before the
first layer, so that only real tokens cost work, and in the last layer only the tokens that will be
predicted go on beyond attention. Under bfloat16, norms stay in it. 30 % of the tokens are hidden,
which gives more to learn from each text; what is measured is always at 15 %, so that figures can be
compared.

Deviations from the paper:
1. Every part is a switch, so that one can be left out at a time; without any, this is BERT.
2. Exactly round(0.3 n) of the n ordinary tokens of a window are hidden, anew each time.
3. Labels that are not wanted are -100, so token 0 can be one; the release takes label 0 for none.
4. The last layer goes on with the hidden tokens alone; the release adds the first one, which
   nothing reads there.
5. Decay leaves out biases and norms; 1e-5 a step at the peak rate, as in the release.
6. FlashAttention is a matter of the machine: attention is torch's own, text lengths are its groups.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import mask_windows
from pretrial.methods.text import mlm
from pretrial.methods.text.mosaicbert.config import Config
from pretrial.methods.text.mosaicbert.network.bert import (
    MosaicBertForMaskedLM,
    MosaicBertForSequenceClassification,
)
from pretrial.methods.text.mosaicbert.network.public import load_mosaic_bert
from pretrial.methods.text.mosaicbert.network.unpad import not_packing, packing
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import (
    Pooling,
    classifier_from,
    encode,
    token_vectors,
)
from pretrial.train.budget import Budget
from pretrial.train.stage import Batch, Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "MosaicBERT"]

CARD = Card(
    slug="mosaicbert",
    title="MosaicBERT: A Bidirectional Encoder Optimized for Fast Pretraining",
    authors="Portes and others",
    year=2023,
    arxiv="2312.17482",
    summary="A BERT for cheap pre-training: no padding, linear position biases, gated layers",
    baseline="mlm",
    abilities=("encode", "classify"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim(
            "GLUE dev 79.6 after 1.13 hours on 8 A100-80GB, at a cost of about $20 (base)",
            "abstract",
        ),
        Claim(
            "(unverified) GLUE dev 83.3, which BERT reaches after 11.5 hours, in about a third of"
            " that time",
            "(unverified) section of results",
        ),
    ),
)

_ALIKE = 64  # tokens within which batches count as the same work


class MosaicBERT(mlm.MLM):
    """An encoder with a head that names tokens.

    Attributes:
        encoder: the network, head included.
    """

    Config: ClassVar[type] = Config

    @staticmethod
    def network_class(config: Any) -> type[PreTrainedModel]:
        """The class of the encoder."""
        return MosaicBertForMaskedLM

    @staticmethod
    def load(source: str | Path) -> tuple[PreTrainedModel, Any]:
        """The network and the tokenizer of a checkpoint; the public ones have BERT's tokenizer."""
        return load_mosaic_bert(source)

    def adopt(self, network: Any, source: str | Path) -> None:
        """Takes over a loaded network; whether padding costs work is a matter of the config."""
        network.config.unpadded = self.config.unpadded
        self.encoder = network

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Masks windows of token ids, more of them in training mode than in evaluation.

        Returns:
            What `mask_windows` returns, and
            layout: where the tokens stand without padding; it keeps padding where the config does.
            num_packed: tokens rounded up, by which batches of unlike work are told apart.
        """
        config = self.config
        batch = mask_windows(
            examples,
            self.tokenizer,
            generator,
            ratio=config.mask_ratio if self.training else config.eval_mask_ratio,
            mask_prob=config.mask_prob,
            random_prob=config.random_prob,
        )
        real = batch["attention_mask"].numpy()
        layout = packing(real) if config.unpadded else not_packing(real.shape)
        return {**batch, "layout": layout, "num_packed": -(-len(layout.rows) // _ALIKE) * _ALIKE}

    def logits(self, batch: Batch) -> Tensor:
        """What is predicted at the chosen positions [N, V]."""
        layout = batch["layout"]
        ids = batch["input_ids"].flatten()[layout.rows]
        real = None if self.config.unpadded else batch["attention_mask"]
        chosen = layout.find(batch["positions"])
        if self.config.masked_tail:
            return self.encoder.cls(self.encoder.bert.packed(ids, layout, real=real, keep=chosen))
        return self.encoder.cls(self.encoder.bert.packed(ids, layout, real=real))[chosen]

    def stage(self, name: str, run: Run, budget: Budget) -> Stage:
        """A stage over the windows of the run's texts, with the recipe's optimiser."""
        config = self.config
        optim = Optim(
            config.lr,
            config.weight_decay / config.lr,  # torch's AdamW multiplies it by the rate
            betas=config.betas,
            eps=1e-6,
            warmup=config.warmup,
            final_ratio=config.final_ratio,
        )
        return replace(super().stage(name, run, budget), optim=optim)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """One vector a text: the mean of the last hidden states over its tokens [N, d]."""
        return encode(self.encoder.bert, self.tokenizer, texts, self.config.num_positions)

    def token_vectors(self, texts: Sequence[str]) -> list[tuple[Tensor, list[tuple[int, int]]]]:
        """For each text the last hidden states of its tokens [T, d] and their places."""
        return token_vectors(self.encoder.bert, self.tokenizer, texts, self.config.num_positions)

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier on a copy of the encoder; its head reads the first token, or all of them."""
        kind = MosaicBertForSequenceClassification
        model = classifier_from(self.encoder.bert, kind, num_labels, pooling)
        return TextClassifier(model, self.tokenizer, self.config.num_positions)

    def export(self) -> PreTrainedModel:
        """The encoder with its head; the names of its weights are those of the public ones."""
        return self.encoder
