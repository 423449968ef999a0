"""Settings that methods on patches of images or sound share: inputs, network, fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from transformers import ViTConfig

from pretrial.errors import UserError
from pretrial.models.architectures.patch_classifier import Pooling, Positions


@dataclass(frozen=True)
class Config:
    """Settings of the network, its inputs and the two stages, by default ViT-B at 224 pixels.

    "Assumed" stands where a paper's value was not at hand.

    Attributes:
        input: what the field is that is read, "image" or "audio".
        image_size: height and width of an image in pixels.
        patch_size: height and width of a patch in pixels.
        num_channels: of an image: 1 for grey values, 3 for colours.
        resize: scale images of another size instead of refusing them.
        sampling_rate: samples a second that recordings are brought to.
        seconds: length of the crop of a recording; it is drawn in pre-training, else the middle.
        num_mels: bands of the log-mel spectrogram.
        window: seconds of a frame of it.
        hop: seconds from one frame to the next.
        frames: frames that make one token.
        width: hidden size of the encoder.
        num_layers: of the encoder.
        num_heads: of the encoder.
        feed_forward: inner width of the encoder's feed-forward layers.
        dropout_prob: of hidden states and attention.
        hidden_ratio: share of the tokens that is hidden in pre-training; what that means, the
            method says.
        min_crop: least share of an image's area that a crop takes in training; 1 takes all of it.
        flip_prob: probability that an image is mirrored in training.
        lr: peak learning rate.
        warmup: steps of warm-up, or a share of the budget when below 1.
        weight_decay: of the weights.
        batch_size: images a step.
        micro_batch_size: images a forward pass; 0 takes the whole batch.
        evaluate_every: steps between evaluations on held-out data; 0 is at the end only.
        finetune_ratio: share of the budget spent on fine-tuning with the labels in the data; 0 has
            no such stage, 1 has no other: a classifier from scratch.
        finetune_lr: peak learning rate of that stage.
        finetune_batch_size: images a step of that stage.
        positions: what fine-tuning adds to tell places: "absolute" embeddings, "relative" biases
            in both directions, or "none".
        pooling: what the classifier reads: the "mean" of the tokens, or a class token, "first".
    """

    input: Literal["image", "audio"] = "image"
    image_size: int = 224  # ViT-B/16
    patch_size: int = 16  # ViT-B/16
    num_channels: int = 3
    resize: bool = False
    sampling_rate: int = 16_000
    seconds: float = 1.0  # assumed
    num_mels: int = 80  # assumed
    window: float = 0.025  # assumed
    hop: float = 0.01  # assumed
    frames: int = 4  # assumed
    width: int = 768  # ViT-B/16
    num_layers: int = 12  # ViT-B/16
    num_heads: int = 12  # ViT-B/16
    feed_forward: int = 3072  # ViT-B/16
    dropout_prob: float = 0.0
    hidden_ratio: float = 0.75  # assumed
    min_crop: float = 1.0
    flip_prob: float = 0.0
    lr: float = 1e-3  # assumed
    warmup: float = 0.05  # assumed
    weight_decay: float = 0.05  # assumed
    batch_size: int = 256  # assumed
    micro_batch_size: int = 0
    evaluate_every: int = 0
    finetune_ratio: float = 0.0
    finetune_lr: float = 1e-3  # assumed
    finetune_batch_size: int = 256  # assumed
    positions: Positions = "absolute"
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        if not 0 <= self.hidden_ratio < 1:
            raise UserError(f"hidden_ratio must be at least 0 and below 1, not {self.hidden_ratio}")
        if not 0 <= self.finetune_ratio <= 1:
            raise UserError(f"finetune_ratio must be from 0 to 1, not {self.finetune_ratio}")
        if not 0 < self.min_crop <= 1:
            raise UserError(f"min_crop must be above 0 and at most 1, not {self.min_crop}")
        if self.input == "image" and self.image_size % self.patch_size:
            raise UserError(
                f"images of {self.image_size} pixels cannot be cut into patches of"
                f" {self.patch_size}: set image_size to a multiple of patch_size"
            )
        if self.num_channels not in (1, 3):
            raise UserError(f"num_channels must be 1 or 3, not {self.num_channels}")
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
        return cls(
            image_size=8,
            patch_size=2,
            num_channels=1,
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            hidden_ratio=0.5,
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
        size, step = round(self.window * self.sampling_rate), round(self.hop * self.sampling_rate)
        frames = 1 + (self.num_samples - size) // step
        return self.num_mels, frames // self.frames * self.frames

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch: in pixels, or all bands and some frames."""
        if self.input == "image":
            return self.patch_size, self.patch_size
        return self.num_mels, self.frames

    @property
    def num_samples(self) -> int:
        """Samples of the crop of a recording."""
        return round(self.seconds * self.sampling_rate)

    @property
    def num_tokens(self) -> int:
        """Tokens of an example: patches, or groups of frames."""
        height, width = self.shape
        if self.input == "audio":
            return width // self.frames
        return (height // self.patch_size) * (width // self.patch_size)

    @property
    def num_context(self) -> int:
        """Tokens that give keys and values; at least one."""
        return max(1, self.num_tokens - round(self.hidden_ratio * self.num_tokens))

    def network_config(self) -> ViTConfig:
        """The encoder's sizes in transformers' terms."""
        audio = self.input == "audio"
        # transformers resizes positions only where sizes are plain numbers
        image: Any = self.shape if audio else self.image_size
        patch: Any = self.patch_shape if audio else self.patch_size
        return ViTConfig(
            hidden_size=self.width,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.feed_forward,
            hidden_dropout_prob=self.dropout_prob,
            attention_probs_dropout_prob=self.dropout_prob,
            image_size=image,
            patch_size=patch,
            num_channels=1 if audio else self.num_channels,
        )

    def sized_as(self, network: ViTConfig) -> Self:
        """The same settings with the sizes of an encoder that was loaded.

        Raises:
            UserError: it reads images, and the settings are for sound, or the other way round.
        """
        patch: Any = network.patch_size
        square = isinstance(patch, int) or patch[0] == patch[1]
        own = replace(
            self,
            width=network.hidden_size,
            num_layers=network.num_hidden_layers,
            num_heads=network.num_attention_heads,
            feed_forward=network.intermediate_size,
        )
        if self.input == "audio":
            image: Any = network.image_size
            if square or tuple(image) != self.shape or tuple(patch) != (self.num_mels, self.frames):
                raise UserError(
                    f"the checkpoint cuts inputs of {image} into patches of {patch}, and these"
                    f" settings {self.shape} into {(self.num_mels, self.frames)}: give the settings"
                    " that it was trained with, or input=image"
                )
            return own
        if not square:
            raise UserError("the checkpoint does not read square patches: set input=audio")
        side = network.image_size
        return replace(
            own,
            image_size=side if isinstance(side, int) else side[0],
            patch_size=patch if isinstance(patch, int) else patch[0],
            num_channels=network.num_channels,
        )
