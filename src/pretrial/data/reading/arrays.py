"""Rows of NumPy's files: .npy, one array of images, and .npz, an array for each field."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.media.image import array_rows
from pretrial.data.rows import Row
from pretrial.errors import UserError

# What common archives call the fields, such as those of Keras and of MedMNIST.
_NAMES = {"images": "image", "x": "image", "labels": "label", "y": "label"}
_SPLITS = {"train", "valid", "val", "test"}


def numpy_rows(path: Path, split: str | None = None) -> Iterator[Row]:
    """Rows of a file; the first axis of its arrays counts them.

    An .npy file holds the field `image` and is read from the disk as it is needed. An archive has
    a field for each array, called as the array; `images` and `x` are `image`, `labels` and `y` are
    `label`. Names such as `train_images` or `x_train` also name the split.

    Args:
        path: the file.
        split: of an archive with several; the default is "train", or its only one.

    Raises:
        UserError: it cannot be read, holds pickled objects, or its arrays differ in length.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = (
            {"image": loaded} if isinstance(loaded, np.ndarray) else _archive(loaded, path, split)
        )
    except UserError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read ({error}): save plain arrays with numpy.save or numpy.savez"
        ) from error
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise UserError(f"{path} has arrays of different lengths {lengths}: mend the file")
    yield from array_rows(arrays, str(path))


def _archive(
    archive: Mapping[str, NDArray[Any]], path: Path, split: str | None
) -> dict[str, NDArray[Any]]:
    """The arrays of one split, by field."""
    splits = {part for name in archive for part in name.lower().split("_") if part in _SPLITS}
    if split is not None and split not in splits:
        found = f"; it has: {', '.join(sorted(splits))}" if splits else " but one part"
        raise UserError(f"{path} has no split {split!r}{found}")
    chosen = split or ("train" if "train" in splits else min(splits, default=None))
    arrays = {}
    for name in archive:
        parts = name.lower().split("_")
        if chosen is None or chosen in parts:
            bare = "_".join(part for part in parts if part != chosen) if chosen else name
            arrays[_NAMES.get(bare.lower(), bare)] = archive[name]
    if not arrays:
        raise UserError(f"{path} is empty: give an archive with arrays")
    return {name: _column(array) for name, array in arrays.items()}


def _column(array: NDArray[Any]) -> NDArray[Any]:
    """Labels [N, 1] as [N]."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
