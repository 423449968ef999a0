"""Letters of several fonts as small images: something to pre-train on that no network brings.

The fonts are those that matplotlib ships: DejaVu, STIX and Computer Modern.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.rows import Row
from pretrial.errors import missing_package

FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
_FINER = 4  # times as many pixels are drawn as are kept


def glyphs(size: int = 8, copies: int = 2, seed: int = 0) -> list[Row]:
    """Letters, upper and lower case, white on black, each a little turned, scaled and moved.

    Args:
        size: height and width in pixels.
        copies: images of each letter in each font.
        seed: of turns, scales and places.

    Returns:
        Rows with `image` (uint8 [size, size]), `label` (the letter) and `font`, in random order.

    Raises:
        UserError: Pillow or matplotlib is not installed.
    """
    try:
        from matplotlib import get_data_path
    except ModuleNotFoundError:
        raise missing_package("matplotlib", "trial") from None
    try:
        from PIL import ImageFont
    except ModuleNotFoundError:
        raise missing_package("pillow", "vision") from None
    folder = Path(get_data_path()) / "fonts" / "ttf"
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for name in FONTS:
        for _ in range(copies):
            points = round(size * _FINER * rng.uniform(0.9, 1.2))
            font = ImageFont.truetype(str(folder / f"{name}.ttf"), points)
            for letter in string.ascii_letters:
                image = _draw(letter, font, size, rng)
                rows.append({"image": image, "label": letter, "font": name})
    return [rows[place] for place in rng.permutation(len(rows))]


def _draw(letter: str, font: Any, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One letter in the middle, give or take half a pixel, turned by up to 10 degrees."""
    from PIL import Image, ImageDraw

    fine = size * _FINER
    canvas = Image.new("L", (fine, fine))
    place = fine / 2 + rng.uniform(-_FINER / 2, _FINER / 2, 2)
    left, top, right, bottom = font.getbbox(letter)
    corner = (place[0] - (left + right) / 2, place[1] - (top + bottom) / 2)
    ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=font)
    canvas = canvas.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))
