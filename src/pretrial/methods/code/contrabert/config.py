"""Settings of ContraBERT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from pretrial.bases.config import published_size
from pretrial.bases.text_encoder import EncoderConfig
from pretrial.errors import UserError, nearest
from pretrial.methods.code.contrabert.data import CODE_OPERATORS, TEXT_OPERATORS
from pretrial.models.architectures.text_encoder import Pooling


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Settings of ContraBERT, by default those of CodeBERT continued.

    The code that pre-trains ContraBERT was never released; what is marked "assumed" was not found
    in its paper (arXiv 2301.09072) either. Sizes are those of config.json of CodeBERT, rates of
    masking are BERT's.

    Attributes:
        num_positions: rows of the table of positions; the first two stand for padding, as RoBERTa
            has it, so a sequence has two tokens less.
        max_length: tokens of a sequence, special ones included; a comment takes a quarter at most.
        code_operators: what makes variants of code.
        text_operators: what makes variants of comments.
        num_operators: how many are applied, one after the other, to make a variant.
        translators: two checkpoints that translate to another language and back; without any,
            back-translation is replaced by noise: synonyms, and neighbours that change places.
        mlm_weight: of the loss of masked tokens.
        mlm_on_variants: name masked tokens in the variants too.
        contrast_weight: of the contrastive loss.
        temperature: what cosines are divided by.
        queue_size: past vectors that serve as negatives.
        batch_negatives: let the other variants of the batch be negatives as well.
        momentum: decay of the momentum encoder.
        pooling: what stands for a sequence: the state of its first token, or the mean of all.
        batch_size: samples a step, each with its variant.
    """

    vocab_size: int = 50_265  # config.json of CodeBERT
    num_positions: int = 514  # config.json of CodeBERT
    max_length: int = 512  # assumed, as CodeBERT
    code_operators: tuple[str, ...] = tuple(CODE_OPERATORS)
    text_operators: tuple[str, ...] = tuple(TEXT_OPERATORS)
    num_operators: int = 1  # assumed
    translators: tuple[str, ...] = ()
    mlm_weight: float = 1.0  # assumed
    mlm_on_variants: bool = True  # abstract
    contrast_weight: float = 1.0  # assumed
    temperature: float = 0.07  # assumed, as MoCo (arXiv 1911.05722, equation 1)
    queue_size: int = 65_536  # assumed, as MoCo
    batch_negatives: bool = False  # assumed, as MoCo
    momentum: float = 0.999  # assumed, as MoCo (equation 2)
    pooling: Pooling = "first"  # assumed
    lr: float = 5e-5  # assumed
    warmup: float = 0.1  # assumed
    batch_size: int = 256  # assumed

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"base": 125e6}
    num_reserved_positions: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for known, names in (
            (CODE_OPERATORS, self.code_operators),
            (TEXT_OPERATORS, self.text_operators),
        ):
            for name in names:
                if name not in known:
                    raise UserError(
                        f"there is no operator {name!r}; the nearest: {nearest(name, known)}"
                    )
        if self.contrast_weight and not (self.code_operators or self.text_operators):
            raise UserError("variants need operators: name some in code_operators")
        if min(self.mlm_weight, self.contrast_weight) < 0 or not (
            self.mlm_weight or self.contrast_weight
        ):
            raise UserError("mlm_weight and contrast_weight are at least 0, and one is above 0")
        if self.queue_size < 1 or not 0 <= self.momentum < 1 or self.temperature <= 0:
            raise UserError(
                "queue_size is at least 1, momentum at least 0 and below 1, temperature above 0"
            )
        if len(self.translators) not in (0, 2):
            raise UserError("translators are two checkpoints, there and back, or none")
        if not 8 <= self.max_length <= self.num_positions - 2:
            raise UserError(
                f"max_length {self.max_length} does not fit: num_positions {self.num_positions}"
                f" allow 8 to {self.num_positions - 2}"
            )
        if self.num_operators < 1:
            raise UserError("num_operators is 1 or more")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(
            super().tiny(),
            vocab_size=400,
            num_positions=50,
            max_length=48,
            queue_size=32,
            momentum=0.9,
        )

    @classmethod
    def small(cls) -> Self:
        """0.2 M parameters, for a few thousand functions: minutes on two cores."""
        return cls(
            vocab_size=1500,
            width=64,
            num_layers=2,
            num_heads=4,
            feed_forward=256,
            num_positions=98,
            max_length=96,
            queue_size=512,
            momentum=0.95,
            pooling="mean",
            lr=2e-3,
            warmup=0.1,
            batch_size=32,
        )

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published size: "base" (125 M parameters), that of CodeBERT and GraphCodeBERT."""
        return published_size(name, {"base": cls()})
