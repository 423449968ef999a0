"""Settings of MP3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.patch_encoder.config import PatchEncoderConfig


@dataclass(frozen=True)
class Config(PatchEncoderConfig):
    """Settings of MP3, by default those of ViT-B on images of 224 pixels.

    "Assumed" stands where a value of the paper (its section 4.2) was not at hand.

    Attributes:
        hidden_ratio: the paper's eta, the share of the tokens that give no keys and values.
        context: "stack" draws the tokens that do once for all layers; "layer" anew in each, which
            lets the others be seen after all.
        smoothing: places of the grid, the standard deviation by which targets are spread over the
            places near the right one at the beginning; 0 for none.
        smoothing_steps: steps in which that falls to 0.
    """

    hidden_ratio: float = 0.75  # assumed for ViT-B
    context: Literal["stack", "layer"] = "stack"
    smoothing: float = 0.0
    smoothing_steps: int = 1000

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"base": 85.8e6, "small": 21.7e6}

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """Published encoders: "base" (ViT-B/16, 86 M parameters), "small" (ViT-S/16, 22 M)."""
        base = cls()
        small = replace(base, width=384, num_heads=6, feed_forward=1536)
        return published_size(name, {"base": base, "small": small})
