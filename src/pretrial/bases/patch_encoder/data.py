"""From images and recordings to what an encoder of patches reads."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.bases.examples import Example, as_examples
from pretrial.bases.patch_encoder.config import ImageInputs, PatchEncoderConfig, SoundInputs
from pretrial.corrupt.draws import row_uniform
from pretrial.corrupt.image_views import crop_and_flip
from pretrial.data.media.audio import log_mel, samples
from pretrial.data.media.image import stack
from pretrial.data.rows import Row
from pretrial.errors import UserError, missing_package

_STREAM = 3  # of the numbers that place the crops of recordings


def pixels(
    contents: Sequence[Any], config: PatchEncoderConfig, seeds: NDArray[np.int64] | None = None
) -> Tensor:
    """What the encoder reads, [B, C, H, W]: images, or spectrograms as images of one channel.

    Args:
        contents: examples, or what their field holds.
        config: sizes.
        seeds: of the examples [B], for crops and mirror images; None has none of these.

    Raises:
        UserError: one cannot be read, or does not fit the settings.
    """
    read = spectrograms if config.input == "audio" else image_pixels
    return read(contents, config, seeds)


def image_pixels(
    contents: Sequence[Any], config: ImageInputs, seeds: NDArray[np.int64] | None = None
) -> Tensor:
    """Images [B, C, H, W], from which `pixel_mean` is taken before `pixel_std` divides them."""
    examples = as_examples(contents, "image")
    images = stack(
        [each.content for each in examples],
        config.num_channels,
        (config.image_size, config.image_size),
        resize=config.resize,
        names=[each.name for each in examples],
    )
    if seeds is not None:
        images = crop_and_flip(images, seeds, min_crop=config.min_crop, flip_prob=config.flip_prob)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (config.pixel_mean, config.pixel_std))
    return (images - mean) / std


def image_processor(config: ImageInputs) -> Any:
    """The same as transformers has it, without crops and mirror images.

    Images of another size are scaled, also where training would refuse them.

    Raises:
        UserError: Pillow, which it needs, is not installed.
    """
    if importlib.util.find_spec("PIL") is None:
        raise missing_package("pillow", "vision")
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    mean, std = (
        [*values] * (config.num_channels // len(values))
        for values in (config.pixel_mean, config.pixel_std)
    )
    return ViTImageProcessorPil(
        do_resize=True,
        size={"height": config.image_size, "width": config.image_size},
        image_mean=mean,
        image_std=std,
    )


def spectrograms(
    contents: Sequence[Any], config: SoundInputs, seeds: NDArray[np.int64] | None = None
) -> Tensor:
    """Log-mel spectrograms of recordings [B, 1, bands, frames], of mean 0 and deviation 1."""
    examples = as_examples(contents, "audio")
    draws = row_uniform(seeds, 1, _STREAM)[:, 0] if seeds is not None else [0.5] * len(examples)
    crops = [_crop(each, config, float(draw)) for each, draw in zip(examples, draws, strict=True)]
    mels = log_mel(
        torch.stack(crops),
        config.sampling_rate,
        num_mels=config.num_mels,
        window=config.window,
        hop=config.hop,
    )[:, :, : config.num_frames]  # [B, bands, frames]
    mean, deviation = mels.mean((1, 2), keepdim=True), mels.std((1, 2), keepdim=True)
    return ((mels - mean) / (deviation + 1e-5))[:, None]


def _crop(example: Example, config: SoundInputs, draw: float) -> Tensor:
    """A crop of a recording [T]; padding would tell the end of it, so there is none."""
    values = samples(example.content, config.sampling_rate, example.name)
    spare = len(values) - config.num_samples
    if spare < 0:
        raise UserError(
            f"{example.name} is {len(values) / config.sampling_rate:.2f} s long, shorter than the"
            f" crop of {config.seconds} s: lower seconds, or take it out"
        )
    start = int(draw * (spare + 1))
    return values[start : start + config.num_samples]


def sample_images() -> list[Row]:
    """Rows for tests: 16 images with a bright square in one of two corners, which is the label."""
    rows = []
    for number in range(16):
        image = np.random.default_rng(number).integers(0, 90, (8, 8), dtype=np.uint8)
        corner = number % 2 * 4
        image[corner : corner + 4, corner : corner + 4] += 150
        rows.append({"image": image, "label": ("first", "last")[number % 2]})
    return rows
