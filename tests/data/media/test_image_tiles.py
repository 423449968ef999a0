"""Images as tiles."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from pretrial.data.media.image import open_image
from pretrial.data.media.image_tiles import best_grid, tiles
from pretrial.errors import UserError

Image = pytest.importorskip("PIL.Image")


def shaded(width, height):
    """Red grows from left to right, green from top to bottom."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, 0 * red], -1).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        ((100, 100), 4, (2, 2)),
        ((200, 100), 4, (2, 1)),
        ((300, 100), 4, (3, 1)),
        ((100, 250), 6, (1, 3)),
        ((30, 30), 4, (1, 1)),
        ((500, 500), 1, (1, 1)),
    ],
)
def test_the_grid_keeps_pixels_and_wastes_few(size, most, grid):
    assert best_grid(*size, 50 if size == (100, 100) else 100, most) == grid


def test_tiles_are_the_whole_and_its_parts_in_order():
    found = tiles(shaded(128, 64), 64, 4)
    assert found.shape == (3, 3, 64, 64)
    whole, left, right = found
    assert whole[0, :, 0].mean() < whole[0, :, -1].mean()
    assert left[0].mean() < right[0].mean()
    # the right part begins where the left one ends
    torch.testing.assert_close(left[0, :, -1], right[0, :, 0], atol=0.05, rtol=0)
    assert tiles(shaded(128, 64), 64, 0).shape == (1, 3, 64, 64)


def test_an_image_of_any_kind_is_opened(tmp_path):
    image = shaded(8, 6)
    image.save(tmp_path / "a.png")
    raw = io.BytesIO()
    image.save(raw, "png")
    for value in (image, tmp_path / "a.png", raw.getvalue(), {"bytes": raw.getvalue()}):
        assert open_image(value).size == (8, 6)
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(UserError, match="no whole image"):
        open_image(tmp_path / "b.png")
    with pytest.raises(UserError, match="there is no image"):
        open_image(str(tmp_path / "c.png"))
    with pytest.raises(UserError, match="not int"):
        open_image(3)
