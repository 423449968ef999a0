"""Letters of fonts: all of them, each another image, the same every time."""

import string

import numpy as np

from pretrial.data.builtin.catalogue import builtin
from pretrial.data.builtin.glyphs import FONTS, glyphs


def test_every_letter_of_every_font_is_there_and_readable():
    rows = glyphs(copies=1)
    assert {(row["font"], row["label"]) for row in rows} == {
        (font, letter) for font in FONTS for letter in string.ascii_letters
    }
    images = np.stack([row["image"] for row in rows])
    assert images.shape == (22 * 52, 8, 8)
    assert images.dtype == np.uint8
    assert images.reshape(len(rows), -1).max(1).min() > 60  # none is blank
    ink = images.mean(0) / 255
    assert ink[2:6, 2:6].mean() > 2 * ink[[0, -1]].mean()  # in the middle
    assert len(np.unique(images.reshape(len(rows), -1), axis=0)) > 0.98 * len(rows)


def test_a_seed_gives_the_same_images_and_another_one_others():
    one, same, other = glyphs(12, 1), glyphs(12, 1), glyphs(12, 1, seed=1)
    assert one[0]["image"].shape == (12, 12)
    assert all((a["image"] == b["image"]).all() for a, b in zip(one, same, strict=True))
    assert [row["label"] for row in one] != [row["label"] for row in other]


def test_splits_have_fonts_of_their_own():
    parts = [builtin("glyphs", split=split, copies=1) for split in ("train", "valid", "test")]
    fonts = [{row["font"] for row in part} for part in parts]
    assert all(fonts)
    assert sum(map(len, fonts)) == len(FONTS)
