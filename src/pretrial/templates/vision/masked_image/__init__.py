"""MaskedImage: an encoder paints the patches of an image that were hidden from it.

Replace this docstring by the idea of your method in ten lines of your own words. What stands here
works: half of an image's patches are replaced by a learned token; the encoder, a ViT, reads all of
them with their places; and a linear layer paints each patch from its state. The loss is the mean
distance of the pixels of hidden patches, or of all with `paint_all`. With labels in the data and a
`finetune_ratio` above 0 a classifier is fine-tuned after that.

Deviations from the paper:
1. Number what your method does otherwise than its paper, and say why.

| field | content |
| --- | --- |
| image | path, array or picture; see `data.media.image` |
| label | class of it, for fine-tuning; rows may lack it |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pretrial.bases.config import published_size
from pretrial.bases.examples import Example
from pretrial.bases.patch_encoder.config import PatchEncoderConfig
from pretrial.bases.patch_encoder.data import pixels
from pretrial.bases.patch_encoder.method import PatchEncoderMethod
from pretrial.card import Card, Field
from pretrial.corrupt.draws import row_seeds, row_uniform
from pretrial.models.architectures.patch_encoder import PatchEncoder
from pretrial.train.stage import Batch

# Read without an import, so it holds literals alone. A method of the project itself also has the
# paper's `arxiv` and its `claims`: claims=(Claim("ImageNet 83.6", "Table 3"),)
CARD = Card(
    slug="masked_image",
    title="The title of the paper",
    authors="First author and others",
    year=2026,
    arxiv="",
    summary="An encoder paints the patches of an image that were hidden from it",
    baseline="the same encoder without pre-training",
    abilities=("encode", "classify"),
    fields=(
        Field("image", "path, array or picture"),
        Field("label", "class, for fine-tuning", required=False),
    ),
    claims=(),
)

_STREAM = 201  # of the numbers that choose the hidden patches


@dataclass(frozen=True)
class Config(PatchEncoderConfig):
    """Settings, by default those of ViT-B/16; further ones are in `PatchEncoderConfig`.

    Attributes:
        paint_all: the patches that were seen count too.
    """

    hidden_ratio: float = 0.5  # say where each value is from, such as section 3.2
    paint_all: bool = False

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"base": 85.8e6}

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published size: "base" (ViT-B/16, 86 M parameters)."""
        return published_size(name, {"base": cls(min_crop=0.2, flip_prob=0.5)})


class MaskedImage(PatchEncoderMethod):
    """An encoder of patches, a token that stands for what is hidden, and a painter.

    Args:
        config: the settings.
        encoder: is trained in place.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        mask_token: [1, 1, d].
        places: learned positions [1, 1 + n, d]; the first is for a class token.
        painter: from a state to the pixels of its patch.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, encoder: PatchEncoder, classes: Sequence[Any] = ()) -> None:
        super().__init__(config, encoder, classes)
        height, width = config.patch_shape
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.places = nn.Parameter(0.02 * torch.randn(1, 1 + config.num_tokens, config.width))
        self.painter = nn.Linear(config.width, height * width * config.num_channels)

    def positions(self) -> Tensor:
        """The learned ones [1, 1 + n, d]."""
        return self.places

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Pixels [B, C, H, W], and `hidden` [B, n]: True where a patch is not seen."""
        num, tokens = len(examples), self.config.num_tokens
        seeds = row_seeds(num, generator)  # each example draws by a seed of its own
        order = torch.from_numpy(row_uniform(seeds, tokens, _STREAM)).argsort(1).argsort(1)
        hidden = order >= self.config.num_visible  # [B, n]
        counted = tokens if self.config.paint_all else tokens - self.config.num_visible
        return {
            "pixels": pixels(examples, self.config, seeds if self.training else None),
            "hidden": hidden,
            "counts": {
                "examples": float(num),
                "tokens": float(num * tokens),
                "painted": float(num * counted),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean distance of the painted pixels from those that were there."""
        images, hidden = batch["pixels"], batch["hidden"][..., None]  # [B, n, 1]
        tokens = torch.where(hidden, self.mask_token, self.encoder.tokens(images))  # [B, n, d]
        painted = self.painter(self.encoder.states(tokens + self.places[:, 1:]))  # [B, n, p p C]
        errors = (painted - patches_of(images, *self.config.patch_shape)).abs().mean(-1)  # [B, n]
        counted = errors if self.config.paint_all else errors * batch["hidden"]
        # divided by the count of the whole step, so that micro-batches add up
        return {"loss": counted.sum() / batch["counts"]["painted"]}


def patches_of(images: Tensor, height: int, width: int) -> Tensor:
    """Patches [B, n, C * height * width] of images [B, C, H, W], row by row."""
    return nn.functional.unfold(images, (height, width), stride=(height, width)).transpose(1, 2)
