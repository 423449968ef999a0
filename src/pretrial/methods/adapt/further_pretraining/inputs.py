"""From rows to examples: images or texts, some of them with a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.corrupt.image_views import crop_and_flip
from pretrial.data.media.image import stack
from pretrial.data.rows import mapped, text_in
from pretrial.errors import UserError
from pretrial.methods.adapt.further_pretraining.config import Config, Input


@dataclass(frozen=True)
class Example:
    """An image or a text.

    Attributes:
        content: what the field holds; for images see `data.media.image`.
        input: which field that is.
        label: its class; None where it has none.
        name: what errors call it.
    """

    content: Any
    input: Input
    label: Any = None
    name: str = ""


def read_examples(rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
    """The images or texts of rows, with their labels.

    Raises:
        UserError: a row has neither, or its text is none.
    """
    return mapped(rows, _example)


def _example(number: int, row: dict[str, Any]) -> Example:
    fields: tuple[Input, ...] = ("image", "text")
    field = next((each for each in fields if row.get(each) is not None), None)
    if field is None:
        raise UserError(
            f"row {number} has neither 'image' nor 'text' (found: {', '.join(row) or 'none'}):"
            " name the field to use with --fields image=OTHER or text=OTHER"
        )
    if field == "text":
        text_in(row, number)
    name = str(row.get("path") or f"row {number}")
    return Example(row[field], field, row.get("label"), name)


def as_example(content: Any, kind: Input) -> Example:
    """An example as it is, and a bare image or text as an example."""
    return content if isinstance(content, Example) else Example(content, kind)


def check_input(examples: Sequence[Example], kind: Input) -> None:
    """Makes sure that examples are what a network reads.

    Raises:
        UserError: one is not.
    """
    for each in examples:
        if each.input != kind:
            raise UserError(
                f"{each.name or 'an example'} is of the field {each.input!r} and the network reads"
                f" {kind!r}: set --input {each.input}, or give another checkpoint"
            )


def pixels_of(
    examples: Sequence[Example], config: Config, seeds: NDArray[np.int64] | None = None
) -> Tensor:
    """Normalised pixels [B, C, H, W]; with seeds [B], of crops and mirror images."""
    check_input(examples, "image")
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
