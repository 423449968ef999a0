"""Settings that methods on patches of images or sound share: inputs, network, fine-tuning."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from transformers import ViTConfig, ViTMAEConfig

from pretrial.bases.config import Optimisation, TransformerSizes
from pretrial.bases.finetuning import Finetuning
from pretrial.errors import UserError
from pretrial.models.architectures.patch_classifier import Pooling, Positions


@dataclass(frozen=True)
class ImageInputs:
    """Images, and the patches that they are cut into; by default those of ViT-B/16.

    Attributes:
        image_size: height and width of an image in pixels.
        patch_size: height and width of a patch in pixels.
        num_channels: of an image: 1 for grey values, 3 for colours.
        resize: scale images of another size instead of refusing them.
        pixel_mean: is taken off the pixels, which are 0 to 1; one number a channel, or one for all.
        pixel_std: what they are then divided by.
        min_crop: least share of an image's area that a crop takes in training; 1 takes all of it.
        flip_prob: probability that an image is mirrored in training.
    """

    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    resize: bool = False
    pixel_mean: tuple[float, ...] = (0.5,)
    pixel_std: tuple[float, ...] = (0.5,)
    min_crop: float = 1.0
    flip_prob: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.min_crop <= 1:
            raise UserError(f"min_crop must be above 0 and at most 1, not {self.min_crop}")
        if self.image_size % self.patch_size:
            raise UserError(
                f"images of {self.image_size} pixels cannot be cut into patches of"
                f" {self.patch_size}: set image_size to a multiple of patch_size"
            )
        if self.num_channels not in (1, 3):
            raise UserError(f"num_channels must be 1 or 3, not {self.num_channels}")
        for name in ("pixel_mean", "pixel_std"):
            if len(getattr(self, name)) not in (1, self.num_channels):
                raise UserError(f"{name} must hold 1 or {self.num_channels} numbers, as channels")


@dataclass(frozen=True)
class SoundInputs:
    """Recordings, read as spectrograms of which some frames make a token.

    Attributes:
        sampling_rate: samples a second that recordings are brought to.
        seconds: length of the crop of a recording; it is drawn in pre-training, else the middle.
        num_mels: bands of the log-mel spectrogram.
        window: seconds of a frame of it.
        hop: seconds from one frame to the next.
        frames: frames that make one token.
    """

    sampling_rate: int = 16_000
    seconds: float = 1.0  # assumed
    num_mels: int = 80  # assumed
    window: float = 0.025  # assumed
    hop: float = 0.01  # assumed
    frames: int = 4  # assumed

    @property
    def num_samples(self) -> int:
        """Samples of the crop of a recording."""
        return round(self.seconds * self.sampling_rate)

    @property
    def num_frames(self) -> int:
        """Frames of the spectrogram of a crop, a whole number of tokens."""
        size, step = round(self.window * self.sampling_rate), round(self.hop * self.sampling_rate)
        found = 1 + (self.num_samples - size) // step
        return found // self.frames * self.frames


@dataclass(frozen=True)
class PixelDecoder:
    """A small decoder that paints hidden patches, as MAE has it.

    Attributes:
        decoder_width: hidden size of the decoder.
        decoder_layers: of the decoder.
        decoder_heads: of the decoder.
        normalised: targets are pixels less their patch's mean, over its deviation.
    """

    decoder_width: int = 512  # section 4.1 of MAE (2111.06377)
    decoder_layers: int = 8  # section 4.1
    decoder_heads: int = 16  # mae_vit_base_patch16_dec512d8b in its release
    normalised: bool = True  # section 3

    def mae_config(self: Any, **more: Any) -> ViTMAEConfig:
        """The sizes in transformers' terms, the encoder's too; `more` goes before them."""
        own = {
            "decoder_intermediate_size": 4 * self.decoder_width,
            "mask_ratio": self.hidden_ratio,
            "norm_pix_loss": self.normalised,
        }
        return self.network_config(ViTMAEConfig, **(own | more))


@dataclass(frozen=True)
class PatchEncoderConfig(ImageInputs, SoundInputs, Finetuning, TransformerSizes, Optimisation):
    """Settings of the network, its inputs and the two stages, by default ViT-B at 224 pixels.

    "Assumed" stands where a paper's value was not at hand.

    Attributes:
        input: what the field is that is read, "image" or "audio".
        hidden_ratio: share of the tokens that is hidden in pre-training; what that means, the
            method says.
        positions: what fine-tuning adds to tell places: "absolute" embeddings, "relative" biases
            in both directions, or "none".
        pooling: what the classifier reads: the "mean" of the tokens, or a class token, "first".
    """

    input: Literal["image", "audio"] = "image"
    width: int = 768  # ViT-B/16
    num_layers: int = 12  # ViT-B/16
    num_heads: int = 12  # ViT-B/16
    feed_forward: int = 3072  # ViT-B/16
    hidden_ratio: float = 0.75  # assumed
    lr: float = 1e-3  # assumed
    warmup: float = 0.05  # assumed
    weight_decay: float = 0.05  # assumed
    batch_size: int = 256  # assumed
    finetune_batch_size: int = 256  # assumed
    positions: Positions = "absolute"
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        ImageInputs.__post_init__(self)
        Finetuning.__post_init__(self)
        if not 0 <= self.hidden_ratio < 1:
            raise UserError(f"hidden_ratio must be at least 0 and below 1, not {self.hidden_ratio}")
        if self.positions == "relative" and self.pooling == "first":
            raise UserError("positions=relative needs pooling=mean: a class token has no place")
        if self.num_tokens < 2:
            raise UserError(
                "an example makes fewer than 2 tokens, so there is no place to predict: lower"
                + (" patch_size" if self.input == "image" else " frames or raise seconds")
            )

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(
            cls.small(),
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            lr=3e-3,
            warmup=2,
            batch_size=8,
            finetune_ratio=0.25,
            finetune_lr=3e-3,
            finetune_batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.2 M parameters, for images of 8x8 pixels: a minute on one core."""
        return cls(
            image_size=8,
            patch_size=2,
            num_channels=1,
            width=64,
            num_layers=4,
            num_heads=4,
            feed_forward=256,
            hidden_ratio=0.5,
            warmup=0.1,
            batch_size=64,
            finetune_batch_size=50,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what is cut into patches: of an image, or bands and frames."""
        if self.input == "image":
            return self.image_size, self.image_size
        return self.num_mels, self.num_frames

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch: in pixels, or all bands and some frames."""
        if self.input == "image":
            return self.patch_size, self.patch_size
        return self.num_mels, self.frames

    @property
    def num_tokens(self) -> int:
        """Tokens of an example: patches, or groups of frames."""
        (height, width), (tall, wide) = self.shape, self.patch_shape
        return (height // tall) * (width // wide)

    @property
    def num_visible(self) -> int:
        """Tokens of an example that are not hidden in pre-training; at least one."""
        return max(1, self.num_tokens - round(self.hidden_ratio * self.num_tokens))

    def encoder_config(self) -> ViTConfig:
        """The encoder's sizes in transformers' terms."""
        if self.input == "image":  # transformers resizes positions only where sizes are numbers
            return self.network_config(ViTConfig)
        return self.network_config(
            ViTConfig, image_size=self.shape, patch_size=self.patch_shape, num_channels=1
        )

    def sized_as(self, network: Any) -> Self:
        """The same settings with the sizes of an encoder that was loaded.

        Args:
            network: its `ViTConfig`.

        Raises:
            UserError: it reads images, and the settings are for sound, or the other way round.
        """
        image, patch = (
            (size, size) if isinstance(size, int) else tuple(size)
            for size in (network.image_size, network.patch_size)
        )
        plain = copy.copy(network)  # with sizes that are numbers
        if self.input == "image":
            if patch[0] != patch[1]:
                raise UserError("the checkpoint does not read square patches: set input=audio")
            plain.image_size, plain.patch_size = image[0], patch[0]
            return super().sized_as(plain)
        if image != self.shape or patch != self.patch_shape:
            raise UserError(
                f"the checkpoint cuts inputs of {image} into patches of {patch}, and these settings"
                f" {self.shape} into {self.patch_shape}: give the settings that it was trained"
                " with, or input=image"
            )
        plain.image_size, plain.patch_size = self.image_size, self.patch_size
        plain.num_channels = self.num_channels
        return super().sized_as(plain)
