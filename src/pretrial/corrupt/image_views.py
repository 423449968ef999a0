"""Crops and mirror images: views of a picture without any border that tells where one is."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pretrial.corrupt.draws import row_uniform

_STREAM = 7  # of the numbers drawn here, beside others from the same seeds


def crop_and_flip(
    pixels: Tensor, seeds: NDArray[np.int64], *, min_crop: float = 1.0, flip_prob: float = 0.0
) -> Tensor:
    """Images [B, C, H, W], each cropped, scaled back to its size, and mirrored left to right.

    Args:
        pixels: the images.
        seeds: of the images [B]; what an image becomes depends on its own alone.
        min_crop: least share of the area that a crop takes; its sides are to each other as in the
            image, times a factor between 3/4 and 4/3. 1 crops nothing.
        flip_prob: probability of the mirror image.
    """
    if min_crop == 1 and not flip_prob:
        return pixels
    height, width = pixels.shape[2:]
    views = []
    for image, draws in zip(pixels, row_uniform(seeds, 5, _STREAM), strict=True):
        if min_crop < 1:
            area = min_crop + (1 - min_crop) * draws[0]
            shape = math.exp((2 * draws[1] - 1) * math.log(4 / 3) / 2)
            tall = max(1, min(height, round(height * math.sqrt(area) * shape)))
            wide = max(1, min(width, round(width * math.sqrt(area) / shape)))
            top, left = int(draws[2] * (height - tall + 1)), int(draws[3] * (width - wide + 1))
            part = image[None, :, top : top + tall, left : left + wide]
            image = interpolate(part, (height, width), mode="bilinear", antialias=True)[0]
        views.append(image.flip(2) if draws[4] < flip_prob else image)
    return torch.stack(views)
