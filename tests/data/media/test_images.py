"""Images: rows from folders, arrays and built-in data, and their pixels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrial.data.media.image import open_image, pixels, size_of, stack
from pretrial.data.reading.sources import load
from pretrial.data.splits import hold_out
from pretrial.errors import UserError

Image = pytest.importorskip("PIL.Image")

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def write(path: Path, array: Any = GREY, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def test_folder_with_labels(tmp_path: Path) -> None:
    for label, name in [("cat", "a.png"), ("cat", "b.PNG"), ("dog", "c.bmp")]:
        write(tmp_path / label / name)
    (tmp_path / "LICENSE").write_text("of the images")
    rows = load(tmp_path)
    assert [(row["path"], row["label"]) for row in rows] == [
        ("cat/a.png", "cat"),
        ("cat/b.PNG", "cat"),
        ("dog/c.bmp", "dog"),
    ]
    np.testing.assert_allclose(pixels(rows[0]["image"], 1, (6, 8))[0], GREY / 255, atol=1e-6)


def test_folder_without_labels_and_with_splits(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.png")
    write(tmp_path / "test" / "b.png")
    rows = load(tmp_path, split="test")
    assert [row["path"] for row in rows] == ["b.png"]
    assert "label" not in rows[0]
    assert load(write(tmp_path / "one.png"))[0]["image"] == str(tmp_path / "one.png")


def test_a_picture_among_texts_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "figure.png")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    assert [row["path"] for row in load(tmp_path)] == ["a.txt", "b.txt"]


def test_broken_images_are_named_by_path(tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad\.png is no whole image.*--skip-bad"):
        load(tmp_path)
    rows = load(tmp_path, skip_bad=True)
    assert [row["path"] for row in rows] == ["good.png"]
    assert "bad.png" in rows.skipped[0]


def test_an_image_cut_short_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "short.jpg", noise)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match=r"short\.jpg is no whole image"):
        pixels(load(path)[0]["image"], 3, (64, 64))
    with pytest.raises(UserError, match=r"there is no image .*gone\.png"):
        pixels(tmp_path / "gone.png", 3, (64, 64))


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([COLOURS] * 3))
    rows = load(tmp_path / "a.npy")
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[2]["image"], COLOURS)
    kinds = {"x_train": np.zeros((4, 5, 5)), "y_train": np.arange(4)[:, None]}
    np.savez(tmp_path / "b.npz", **kinds, x_test=np.ones((2, 5, 5)), y_test=np.arange(2))
    assert [row["label"] for row in load(tmp_path / "b.npz")] == [0, 1, 2, 3]
    assert len(load(tmp_path / "b.npz", split="test")) == 2
    np.savez(tmp_path / "c.npz", images=np.zeros((4, 5, 5)), speed=np.arange(4.0))
    assert load(tmp_path / "c.npz")[1]["speed"] == 1.0


def test_faults_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((4, 5)))
    with pytest.raises(UserError, match=r"flat\.npy has images of shape \[4, 5\]"):
        load(tmp_path / "flat.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(UserError, match="save plain arrays"):
        load(tmp_path / "objects.npy")
    np.savez(tmp_path / "uneven.npz", images=np.zeros((4, 5, 5)), labels=np.zeros(3))
    with pytest.raises(UserError, match="different lengths"):
        load(tmp_path / "uneven.npz")
    np.savez(tmp_path / "a.npz", x_train=np.zeros((4, 5, 5)))
    with pytest.raises(UserError, match="no split 'test'; it has: train"):
        load(tmp_path / "a.npz", split="test")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UserError, match=r"text\.npz cannot be read"):
        load(tmp_path / "text.npz")


@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_has_the_same_pixels(tmp_path: Path, channels: int) -> None:
    path = write(tmp_path / "a.png", COLOURS)
    forms = [
        path,
        str(path),
        COLOURS,
        COLOURS.transpose(2, 0, 1),
        COLOURS.tolist(),
        COLOURS / 255,
        Image.fromarray(COLOURS),
        {"bytes": path.read_bytes(), "path": None},
        {"bytes": None, "path": str(path)},
    ]
    batch = stack(forms, channels, (6, 8)).numpy()
    assert batch.shape == (9, channels, 6, 8)
    assert batch.dtype == np.float32
    for one in batch:
        np.testing.assert_allclose(one, batch[0], atol=1e-6)
    expected = np.asarray(Image.fromarray(COLOURS).convert("L" if channels == 1 else "RGB")) / 255
    found = batch[0][0] if channels == 1 else batch[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=1 / 255)


def test_modes_of_pillow(tmp_path: Path) -> None:
    grey = Image.fromarray(GREY)
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    clear = Image.fromarray(np.zeros((6, 8, 4), np.uint8))
    assert pixels(clear, 3, (6, 8)).min() == 1  # transparent black is white
    for image in (grey, deep, grey.convert("RGB"), grey.convert("LA"), grey.convert("CMYK")):
        np.testing.assert_allclose(pixels(image, 1, (6, 8))[0], GREY / 255, atol=1e-2)
    palette = Image.fromarray(COLOURS).quantize(256)
    np.testing.assert_allclose(
        pixels(palette, 3, (6, 8)), pixels(palette.convert("RGB"), 3, (6, 8)), atol=1e-6
    )
    assert set(np.unique(pixels(grey.convert("1"), 1, (6, 8)))) <= {0, 1}
    turned = grey.copy()
    turned.getexif()[0x0112] = 6  # the camera lay on its side
    assert size_of(turned) == (8, 6, 1)


def test_an_image_of_pillow_has_the_same_pixels(tmp_path: Path) -> None:
    for value in (COLOURS, write(tmp_path / "a.png", COLOURS), Image.fromarray(COLOURS)):
        np.testing.assert_array_equal(np.asarray(open_image(value)), COLOURS)
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (np.asarray(open_image(every)) == every[:, :, None]).all()
    clear = np.dstack([COLOURS, np.zeros((6, 8), np.uint8)])
    assert (np.asarray(open_image(Image.fromarray(clear))) == 255).all()


def test_other_sizes_are_refused_or_resized(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is 6x8 pixels .*, not 4x4"):
        stack([path], 1, (4, 4))
    with pytest.raises(UserError, match="row 7 is 6x8"):
        stack([GREY], 1, (4, 4), names=["row 7"])
    small = stack([path], 1, (3, 4), resize=True)
    assert small.shape == (1, 1, 3, 4)
    assert float(small.mean()) == pytest.approx(GREY.mean() / 255, abs=0.02)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (GREY.astype(float), "outside of 0 to 1"),
        (np.full((2, 2), np.nan), "outside of 0 to 1"),
        (GREY.astype(int) - 1, "outside of 0 to 255"),
        (np.zeros((2, 2, 2)), "1, 3 or 4 channels"),
        ([["a"]], "is no image"),
        (None, "is no image"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pixels(image, 1, (6, 8))


def test_pillow_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"pretrial\[vision\]"):
        load(path)
    assert pixels(GREY, 1, (6, 8)).shape == (1, 6, 8)


def test_digits() -> None:
    pytest.importorskip("sklearn")
    rows = load("builtin:digits")
    assert len(rows) == 1797
    assert size_of(rows[0]["image"]) == (8, 8, 1)
    assert {row["label"] for row in rows} == set(range(10))
    assert pixels(rows[0]["image"], 1, (8, 8)).max() == pytest.approx(15 / 16, abs=2e-3)
    parts = [load("builtin:digits", split=name) for name in ("train", "valid", "test")]
    numbers = [row["number"] for part in parts for row in part]
    assert sorted(numbers) == list(range(1797))


def test_arrays_that_differ_inside_are_no_duplicates() -> None:
    images = np.zeros((40, 64, 64), np.uint8)
    images[:, 30, 30] = np.arange(40)  # where a printed array has dots
    rows = [{"image": image} for image in images]
    kept, aside = hold_out(rows, 0.5, seed=0)
    assert 5 < len(aside) < 35
    assert len(kept) + len(aside) == 40
