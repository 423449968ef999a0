"""From rows to what an encoder of patches reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.bases.patch_encoder.config import Config
from pretrial.corrupt.draws import row_uniform
from pretrial.corrupt.image_views import crop_and_flip
from pretrial.data.media.audio import log_mel, samples
from pretrial.data.media.image import stack
from pretrial.data.rows import mapped
from pretrial.errors import UserError

_FIELDS = ("image", "audio")
_START = 3  # the stream of random numbers that crops of recordings begin at


@dataclass(frozen=True)
class Example:
    """An image or a recording.

    Attributes:
        content: what the field holds; see `data.media.image` and `data.media.audio`.
        field: "image" or "audio".
        label: its class; None where it has none.
        name: what errors call it.
    """

    content: Any
    field: str
    label: Any = None
    name: str = ""


def read(rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
    """The images or recordings of rows.

    Raises:
        UserError: a row has neither, or its content is empty.
    """
    return mapped(rows, _example)


def _example(number: int, row: dict[str, Any]) -> Example:
    field = next((field for field in _FIELDS if row.get(field) is not None), None)
    if field is None:
        raise UserError(
            f"row {number} has neither 'image' nor 'audio' (found: {', '.join(row) or 'none'}):"
            " name the field to use with --fields image=OTHER"
        )
    name = str(row.get("path") or f"row {number}")
    return Example(row[field], field, row.get("label"), name)


def as_examples(contents: Sequence[Any], field: str) -> list[Example]:
    """Examples as they are, and bare images or recordings as examples."""
    return [
        each if isinstance(each, Example) else Example(each, field, name=f"item {number}")
        for number, each in enumerate(contents)
    ]


def pixels(
    contents: Sequence[Any], config: Config, seeds: NDArray[np.int64] | None = None
) -> Tensor:
    """What the encoder reads, [B, C, H, W]: images, or spectrograms as images of one channel.

    Images have 0.5 taken off and are divided by 0.5; a spectrogram has mean 0 and deviation 1.

    Args:
        contents: examples, or what their field holds.
        config: sizes.
        seeds: of the examples [B], for crops and mirror images; None has none of these.

    Raises:
        UserError: one cannot be read, or does not fit the settings.
    """
    examples = as_examples(contents, config.input)
    for each in examples:
        if each.field != config.input:
            raise UserError(
                f"{each.name} is of the field {each.field!r} and the settings are for"
                f" {config.input!r}: set input={each.field}"
            )
    if config.input == "audio":
        return _spectrograms(examples, config, seeds)
    images = stack(
        [each.content for each in examples],
        config.num_channels,
        config.shape,
        resize=config.resize,
        names=[each.name for each in examples],
    )
    if seeds is not None:
        images = crop_and_flip(images, seeds, min_crop=config.min_crop, flip_prob=config.flip_prob)
    return (images - 0.5) / 0.5


def _spectrograms(
    examples: Sequence[Example], config: Config, seeds: NDArray[np.int64] | None
) -> Tensor:
    draws = row_uniform(seeds, 1, _START)[:, 0] if seeds is not None else [0.5] * len(examples)
    crops = [_crop(each, config, float(draw)) for each, draw in zip(examples, draws, strict=True)]
    mels = log_mel(
        torch.stack(crops),
        config.sampling_rate,
        num_mels=config.num_mels,
        window=config.window,
        hop=config.hop,
    )[:, :, : config.shape[1]]  # [B, bands, frames]
    mean, deviation = mels.mean((1, 2), keepdim=True), mels.std((1, 2), keepdim=True)
    return ((mels - mean) / (deviation + 1e-5))[:, None]


def _crop(example: Example, config: Config, draw: float) -> Tensor:
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
