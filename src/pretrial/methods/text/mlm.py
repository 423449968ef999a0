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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import ElectraForMaskedLM

from pretrial.bases.config import published_size
from pretrial.bases.text_encoder import EncoderConfig, TextEncoder
from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_tokenizer
from pretrial.checkpoints.packaged import place_of
from pretrial.checkpoints.positions import num_positions
from pretrial.checkpoints.pretrained import load_encoder, masked_class
from pretrial.corrupt.masks import chosen_of
from pretrial.models.architectures.text_encoder import logits_at
from pretrial.train.stage import Batch

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
class Config(EncoderConfig):
    """Settings of masked language modelling, by default those of ELECTRA-small's comparison.

    Sections are those of ELECTRA's paper (2003.10555); files are those of google-research/electra.

    Attributes:
        embedding_size: of a token.
    """

    embedding_size: int = 128  # section 3.3
    width: int = 256  # section 3.3
    num_heads: int = 4  # training_utils.py
    feed_forward: int = 1024  # training_utils.py
    max_length: int = 128  # section 3.3
    mask_ratio: float = 0.15  # configure_pretraining.py
    mask_prob: float = 0.8  # section 3.5, what its two 10 % leave
    random_prob: float = 0.1  # section 3.5
    lr: float = 5e-4  # configure_pretraining.py
    warmup: float = 0.1  # of the budget; paper() has its steps
    batch_size: int = 128  # section 3.3

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"small": 14e6, "base": 110e6, "large": 335e6}

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(super().tiny(), embedding_size=16)

    @classmethod
    def paper(cls, name: str = "small") -> Self:
        """The published sizes: "small" (14 M parameters), "base" (110 M), "large" (335 M)."""
        small = cls(warmup=10_000)  # configure_pretraining.py
        base = replace(
            small,
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
        return published_size(name, {"small": small, "base": base, "large": large})


class MLM(TextEncoder):
    """An encoder with a head that names tokens."""

    Config: ClassVar[type] = Config
    mend = (
        "give the name or folder of a checkpoint that AutoModelForMaskedLM loads, such as"
        " google/electra-small-generator or roberta-base"
    )
    other_heads = ("ElectraForPreTraining", "DebertaV2ForPreTraining")
    beside = ("cls.seq_relationship.", "sop_classifier.", "mask_predictions.")

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """ELECTRA's generator is a masked language model; a checkpoint may be of another class."""
        return ElectraForMaskedLM

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `TextEncoder.load`; the class is the one that transformers has for the checkpoint.

        Raises:
            UserError: transformers has no masked language model for it.
        """
        place = place_of(source)
        kind = masked_class(place, cls.mend)
        network = load_encoder(place, kind, cls.mend, others=cls.other_heads, beside=cls.beside)
        config = config.sized_as(network.config)
        most = num_positions(network) or config.max_length
        config = replace(config, max_length=min(config.max_length, most))
        return config, network, load_tokenizer(place)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Hides tokens of windows; `mask_windows` tells the fields."""
        return self.masked(examples, generator)

    def logits(self, batch: Batch) -> Tensor:
        """What is predicted at the chosen positions [N, V]; elsewhere the head does no work."""
        if not isinstance(self.network, ElectraForMaskedLM):
            return logits_at(self.network, batch)
        chosen = chosen_of(self.states(batch["input_ids"], batch["attention_mask"]), batch)
        return self.network.generator_lm_head(self.network.generator_predictions(chosen))
