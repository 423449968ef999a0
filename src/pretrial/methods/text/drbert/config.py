"""Settings of DrBERT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.text_encoder import EncoderConfig

Design = Literal["blocks", "emd", "gua", "mix", "gua+mix"]


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Settings of DrBERT, by default those of a BERT-base with two layers on it.

    "assumed" is what no source was found for, "(secondary)" what a summary of the paper says
    (linnk.ai, "Unveiling the Potential ..."). Sizes and rates of masking are BERT's.

    Attributes:
        whole_words: choose whole words.
        decoder_layers: between encoder and head; with 0 this is BERT.
        design: of the decoder: "blocks" (plain layers), "emd" (plain layers whose queries are told
            their absolute positions again, and whose keys are the encoder's), "gua" (gradual
            unmasking), "mix" (random output), "gua+mix" (both, the paper's choice).
        visible_ratio: share of the hidden positions that the first layer of "gua" may read.
        encoder_prob: share of the tokens whose head reads the encoder's state in "mix".
    """

    max_length: int = 512  # assumed
    whole_words: bool = False  # assumed
    decoder_layers: int = 2  # (secondary): 2 for base, 4 for large
    design: Design = "gua+mix"  # abstract of the later versions
    visible_ratio: float = 0.5  # assumed
    encoder_prob: float = 0.2  # (secondary)
    lr: float = 1e-4  # BERT; assumed
    warmup: float = 0.1  # of the budget; paper() has its steps
    weight_decay: float = 0.01  # BERT; assumed
    batch_size: int = 256  # BERT; assumed

    #: Published parameters of what `export` gives, for each name that `paper` knows: BERT's.
    published: ClassVar[dict[str, float]] = {"base": 110e6, "large": 335e6}

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published sizes: "base" (110 M parameters), "large" (335 M)."""
        base = cls(warmup=10_000)  # BERT; assumed
        large = replace(
            base, width=1024, num_layers=24, num_heads=16, feed_forward=4096, decoder_layers=4
        )
        return published_size(name, {"base": base, "large": large})
