"""Settings of ELECTRA."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from pretrial.errors import UserError
from pretrial.methods.text import mlm
from pretrial.methods.text.electra.network import Tie


@dataclass(frozen=True)
class Config(mlm.Config):
    """Settings of ELECTRA, by default those of ELECTRA-small.

    Sections are the paper's; files are those of google-research/electra.

    Attributes:
        mask_prob: share of the chosen that becomes the mask token for the generator.
        random_prob: share of the chosen that becomes a random token for the generator.
        generator: "uniform" draws any token with equal probability, without a network.
        generator_width_ratio: hidden size of the generator over that of the encoder.
        generator_depth_ratio: layers of the generator over those of the encoder.
        tie: what the generator shares with the encoder.
        temperature: of the drawing.
        disallow_correct: never draw the original token.
        gen_weight: of the generator's loss.
        disc_weight: of the discriminator's loss.
        objective: what the encoder learns: "replaced_tokens" (ELECTRA), "replace_mlm" (the original
            tokens at the chosen positions, where it sees drawn ones) or "all_tokens_mlm" (the
            original tokens everywhere, with a gate that copies the input).
        loss_on: the positions that the discriminator learns from: "all" or "masked" ("15 %").
        two_stage: first the generator alone, then the encoder from its weights, with it frozen.
    """

    mask_prob: float = 1.0  # section 2; 0.85 in pretrain_helpers.py
    random_prob: float = 0.0  # section 2
    generator: Literal["learned", "uniform"] = "learned"  # section 2
    generator_width_ratio: float = 0.25  # configure_pretraining.py
    generator_depth_ratio: float = 1.0  # section 3.2
    tie: Tie = "embeddings"  # section 3.2
    temperature: float = 1.0  # configure_pretraining.py
    disallow_correct: bool = False  # section 2
    gen_weight: float = 1.0  # section 2
    disc_weight: float = 50.0  # configure_pretraining.py
    objective: Literal["replaced_tokens", "replace_mlm", "all_tokens_mlm"] = "replaced_tokens"
    loss_on: Literal["all", "masked"] = "all"
    two_stage: bool = False

    def __post_init__(self) -> None:
        if self.two_stage and (self.tie != "none" or self.generator == "uniform"):
            raise UserError('two_stage needs a learned generator of its own: set tie="none"')
        if (self.two_stage or self.tie == "all") and self.generator_width_ratio != 1:
            raise UserError(
                'two_stage and tie="all" need networks of one size: set generator_width_ratio=1'
            )
        if self.objective != "replaced_tokens" and (self.two_stage or self.loss_on == "masked"):
            raise UserError('two_stage and loss_on="masked" are for objective="replaced_tokens"')

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(super().tiny(), generator_width_ratio=0.5)

    @classmethod
    def paper(cls, name: str = "small") -> Self:
        """The published sizes: "small" (14 M parameters), "base" (110 M), "large" (335 M)."""
        config = super().paper(name)
        ratio = {"small": 1 / 4, "base": 1 / 3, "large": 1 / 4}[name]
        mask_ratio = 0.25 if name == "large" else 0.15
        return replace(config, generator_width_ratio=ratio, mask_ratio=mask_ratio)
