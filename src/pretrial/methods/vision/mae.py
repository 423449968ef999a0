"""MAE: an autoencoder of images sees a few patches and paints the hidden ones.

The encoder reads the patches that are left, with their positions, and nothing else, so that it is
cheap; a small decoder gets its states and a mask token at every hidden place, and predicts the
pixels there. The loss is their mean squared error. The decoder is thrown away. It is the objective
that other ways to pre-train on images are put on trial against. A recording is read as an image,
its spectrogram, whose patches are groups of frames.

Deviations from the paper:
1. Crops are drawn by area and keep near to the image's proportions; the settings of ImageNet are
   those of `Config.paper`, without its long schedule.
2. Fine-tuning pools the mean of the patches and trains the positions, which begin as the fixed
   ones; layers all have the same learning rate.

| field | content |
| --- | --- |
| image | path, array or picture; see `data.media.image` |
| audio | instead of an image, with `input=audio`: path or samples; see `data.media.audio` |
| label | class of it, for fine-tuning; rows may lack it |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTMAEForPreTraining

from pretrial.bases.config import published_size
from pretrial.bases.examples import Example
from pretrial.bases.patch_encoder.config import PatchEncoderConfig, PixelDecoder
from pretrial.bases.patch_encoder.data import pixels
from pretrial.bases.patch_encoder.method import PatchEncoderMethod
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.draws import row_seeds, row_uniform
from pretrial.models.architectures.patch_encoder import PatchEncoder, glorot_init
from pretrial.models.layers.positions import sine_positions
from pretrial.train.stage import Batch

CARD = Card(
    slug="mae",
    title="Masked Autoencoders Are Scalable Vision Learners",
    authors="He and others",
    year=2021,
    arxiv="2111.06377",
    summary="An encoder sees a quarter of an image's patches, a decoder paints the rest",
    baseline="the same encoder without pre-training",
    abilities=("encode", "classify"),
    fields=(
        Field("image", "path, array or picture"),
        Field("audio", "instead of an image: path, or samples with their rate", required=False),
        Field("label", "class, for fine-tuning", required=False),
    ),
    claims=(Claim("ImageNet-1K 83.6 with ViT-B, fine-tuned", "(secondary) Table 3"),),
)

_STREAM = 200  # of the numbers that choose the hidden patches


@dataclass(frozen=True)
class Config(PixelDecoder, PatchEncoderConfig):
    """Settings of MAE, by default those of ViT-B on images of 224 pixels.

    Attributes:
        hidden_ratio: share of the patches that the encoder does not see.
    """

    hidden_ratio: float = 0.75  # section 4.1

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"base": 85.8e6}

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(super().tiny(), decoder_width=16, decoder_heads=2)

    @classmethod
    def small(cls) -> Self:
        """0.2 M parameters and a decoder of a layer; patches of four pixels are not normalised."""
        return replace(
            super().small(), normalised=False, decoder_width=32, decoder_layers=1, decoder_heads=4
        )

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published "base" (ViT-B/16, 86 M parameters without its decoder)."""
        base = cls(min_crop=0.2, flip_prob=0.5, lr=1.5e-4, batch_size=4096)
        return published_size(name, {"base": base})

    def decoder_config(self) -> Any:
        """The sizes in transformers' terms, the decoder's too.

        Its MAE takes squares alone. For sound, whose places and encoder are our own, an image of
        one patch stands for the spectrogram, with as many channels as a patch has values.
        """
        if self.input == "image":
            return self.mae_config()
        height, width = self.patch_shape
        return self.mae_config(image_size=1, patch_size=1, num_channels=height * width)


class MAE(PatchEncoderMethod):
    """An encoder of the patches that are left, and a decoder of all.

    Args:
        config: the settings.
        encoder: is trained in place.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        class_token: stands before the patches [1, 1, d].
        decoder: transformers' own.
    """

    Config: ClassVar[type] = Config
    places: Tensor

    def __init__(self, config: Any, encoder: PatchEncoder, classes: Sequence[Any] = ()) -> None:
        super().__init__(config, encoder, classes)
        whole = ViTMAEForPreTraining(config.decoder_config())
        self.class_token = nn.Parameter(whole.vit.embeddings.cls_token.detach().clone())
        self.register_buffer("places", sine_positions(encoder.grid, config.width))
        self.decoder: Any = whole.decoder
        glorot_init(self.decoder)
        decoded = sine_positions(encoder.grid, config.decoder_width)
        self.decoder.decoder_pos_embed = nn.Parameter(decoded, requires_grad=False)

    def positions(self) -> Tensor:
        """The fixed sine and cosine positions [1, 1 + n, d]."""
        return self.places

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Pixels [B, C, H, W] and `order` [B, n], the places as shuffled; the first are seen."""
        num, tokens = len(examples), self.config.num_tokens
        seeds = row_seeds(num, generator)
        order = row_uniform(seeds, tokens, _STREAM).argsort(axis=1, kind="stable")
        return {
            "pixels": pixels(examples, self.config, seeds if self.training else None),
            "order": torch.from_numpy(np.ascontiguousarray(order)),
            "counts": {
                "examples": float(num),
                "tokens": float(num * tokens),
                "hidden": float(num * (tokens - self.config.num_visible)),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of the pixels of hidden patches."""
        images, order = batch["pixels"], batch["order"]
        kept = self.config.num_visible
        predicted = self.reconstruct(images, order)  # [B, n, p p C]
        targets = patchify(images, *self.config.patch_shape)
        if self.config.normalised:
            mean, variance = targets.mean(-1, keepdim=True), targets.var(-1, keepdim=True)
            targets = (targets - mean) / (variance + 1e-6).sqrt()
        errors = (predicted - targets).square().mean(-1)  # [B, n]
        return {"loss": errors.gather(1, order[:, kept:]).sum() / batch["counts"]["hidden"]}

    def reconstruct(self, images: Tensor, order: Tensor) -> Tensor:
        """Predicted patches [B, n, p * p * C] of images, of which the first in `order` are seen."""
        tokens = self.encoder.tokens(images) + self.places[:, 1:]
        seen = order[:, : self.config.num_visible, None].expand(-1, -1, tokens.shape[2])
        first = (self.class_token + self.places[:, :1]).expand(len(images), -1, -1)
        states = self.encoder.states(torch.cat((first, tokens.gather(1, seen)), dim=1))
        return self.decoder(states, order.argsort(1)).logits


def patchify(images: Tensor, height: int, width: int) -> Tensor:
    """Patches [B, n, height * width * C] of images [B, C, H, W], channels last in each."""
    rows = images.unfold(2, height, height).unfold(3, width, width)  # [B, C, H/p, W/q, p, q]
    return rows.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
