"""Settings of DrBERT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from transformers import BertConfig

from pretrial.errors import UserError

Design = Literal["blocks", "emd", "gua", "mix", "gua+mix"]


@dataclass(frozen=True)
class Config:
    """Settings of DrBERT, by default those of a BERT-base with two layers on it.

    "assumed" is what no source was found for, "(secondary)" what a summary of the paper says
    (linnk.ai, "Unveiling the Potential ...").

    Attributes:
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
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
        whole_words: choose whole words.
        decoder_layers: between encoder and head; with 0 this is BERT.
        design: of the decoder: "blocks" (plain layers), "emd" (plain layers whose queries are told
            their absolute positions again, and whose keys are the encoder's), "gua" (gradual
            unmasking), "mix" (random output), "gua+mix" (both, the paper's choice).
        visible_ratio: share of the hidden positions that the first layer of "gua" may read.
        encoder_prob: share of the tokens whose head reads the encoder's state in "mix".
        lr: peak learning rate.
        warmup: steps of warm-up, or a share of the budget when below 1.
        weight_decay: of the weights.
        batch_size: sequences a step.
        micro_batch_size: sequences a forward pass; 0 takes the whole batch.
        evaluate_every: steps between evaluations on held-out data; 0 is at the end only.
    """

    vocab_size: int = 30522  # BERT
    width: int = 768  # BERT
    num_layers: int = 12  # BERT
    num_heads: int = 12  # BERT
    feed_forward: int = 3072  # BERT
    num_positions: int = 512  # BERT
    max_length: int = 512  # assumed
    dropout_prob: float = 0.1  # BERT
    mask_ratio: float = 0.15  # BERT
    mask_prob: float = 0.8  # BERT
    random_prob: float = 0.1  # BERT
    whole_words: bool = False  # assumed
    decoder_layers: int = 2  # (secondary): 2 for base, 4 for large
    design: Design = "gua+mix"  # abstract of the later versions
    visible_ratio: float = 0.5  # assumed
    encoder_prob: float = 0.2  # (secondary)
    lr: float = 1e-4  # BERT; assumed
    warmup: float = 10_000  # BERT; assumed
    weight_decay: float = 0.01  # BERT; assumed
    batch_size: int = 256  # BERT; assumed
    micro_batch_size: int = 0
    evaluate_every: int = 0

    #: Published parameters of what `export` gives, for each name that `paper` knows: BERT's.
    published: ClassVar[dict[str, float]] = {"base": 110e6, "large": 335e6}

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=300,
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
        """1.1 M parameters and 0.4 M in the decoder, for a megabyte of text."""
        return cls(
            vocab_size=2048,
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
    def paper(cls, name: str = "base") -> Self:
        """The published sizes: "base" (110 M parameters), "large" (335 M)."""
        large = cls(width=1024, num_layers=24, num_heads=16, feed_forward=4096, decoder_layers=4)
        if name not in (sizes := {"base": cls(), "large": large}):
            raise UserError(f"published sizes are {', '.join(sizes)}, not {name!r}")
        return sizes[name]

    def network_config(self, pad_id: int) -> BertConfig:
        """The encoder's sizes in transformers' terms."""
        return BertConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.width,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.feed_forward,
            max_position_embeddings=self.num_positions,
            hidden_dropout_prob=self.dropout_prob,
            attention_probs_dropout_prob=self.dropout_prob,
            pad_token_id=pad_id,
        )

    def sized_as(self, network: BertConfig) -> Self:
        """The same settings with the sizes of an encoder that was loaded."""
        return replace(
            self,
            vocab_size=network.vocab_size,
            width=network.hidden_size,
            num_layers=network.num_hidden_layers,
            num_heads=network.num_attention_heads,
            feed_forward=network.intermediate_size,
            num_positions=network.max_position_embeddings,
            max_length=min(self.max_length, network.max_position_embeddings),
        )
