"""Images: rows of them from files and arrays, and their pixels as tensors.

The field `image` of a row holds the path of a file, an array or tensor [H, W], [H, W, C] or
[C, H, W], an image of Pillow, bytes of a file, or the {"path", "bytes"} of a Hugging Face data set.
`pixels` reads each of them, when a batch is made; so a folder of images needs no memory for all at
once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.rows import Row
from pretrial.errors import UserError, missing_package

if TYPE_CHECKING:
    from torch import Tensor

#: Shares of red, green and blue in a grey value: ITU-R 601, as in Pillow.
GREY = (0.299, 0.587, 0.114)
_CHANNELS = (1, 3, 4)


def image_fault(path: Path) -> str:
    """Why the file holds no whole image, "" where it seems to; it is checked and not decoded.

    Raises:
        UserError: Pillow is not installed.
    """
    try:
        with _pillow().open(path) as image:
            image.verify()
    except UserError:
        raise
    except Exception as error:  # each format of Pillow raises errors of its own
        return _reason(error)
    return ""


def array_rows(arrays: Mapping[str, NDArray[Any]], where: str) -> Iterator[Row]:
    """Rows of arrays whose first axis counts the rows; see `data.reading.arrays` for their names.

    Raises:
        UserError: `image` has not the axes of images.
    """
    images = arrays.get("image")
    if images is not None and images.ndim not in (3, 4):
        raise UserError(
            f"{where} has images of shape {list(images.shape)}: they must be [N, H, W], "
            "[N, H, W, C] or [N, C, H, W]"
        )
    for number in range(min(map(len, arrays.values()))):
        values = {name: array[number] for name, array in arrays.items()}
        yield {name: v.item() if np.ndim(v) == 0 else v for name, v in values.items()}


def pixels(
    image: Any,
    channels: int,
    size: tuple[int, int] | None = None,
    *,
    resize: bool = False,
    name: str = "",
) -> NDArray[np.float32]:
    """The pixels of one image, [channels, H, W], black 0 and white 1.

    Colours become grey values and grey values colours, as asked; transparent places become white;
    a photograph is turned as its camera noted.

    Args:
        image: what the field `image` holds.
        channels: 1 for grey values, 3 for colours.
        size: height and width; None takes what the image has.
        resize: scale an image of another size (bilinear, smoothed; its proportions may change).
        name: what an error calls the image; else its path.

    Raises:
        UserError: it cannot be read, or is of another size.
    """
    name = name or (str(image) if isinstance(image, str | Path) else "an image")
    array = _floats(image, channels, name)
    if size is None or array.shape[1:] == tuple(size):
        return array
    if not resize:
        found, wanted = _times(array.shape[1:]), _times(size)
        raise UserError(
            f"{name} is {found} pixels (height x width), not {wanted}: train with"
            " another image_size or with --resize, or scale it first"
        )
    import torch

    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(array)[None], tuple(size), mode="bilinear", antialias=True
    )
    return scaled[0].numpy()


def open_image(image: Any) -> Any:
    """An image of Pillow in RGB, of what the field `image` holds; see `pixels`.

    Raises:
        UserError: it cannot be read.
    """
    values = np.rint(255 * pixels(image, 3)).astype(np.uint8)  # exact for images of 8 bits
    return _pillow().fromarray(values.transpose(1, 2, 0))


def size_of(image: Any) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) of what the field `image` holds.

    Raises:
        UserError: it cannot be read.
    """
    name = str(image) if isinstance(image, str | Path) else "an image"
    array = _array(image, name)
    grey = array.shape[2] == 1
    return array.shape[0], array.shape[1], 1 if grey else 3


def stack(
    images: Sequence[Any],
    channels: int,
    size: tuple[int, int],
    *,
    resize: bool = False,
    names: Sequence[str] = (),
) -> Tensor:
    """The pixels of several images as a tensor [B, channels, H, W]; see `pixels`."""
    import torch

    found = [
        pixels(image, channels, size, resize=resize, name=names[i] if names else "")
        for i, image in enumerate(images)
    ]
    return torch.from_numpy(np.stack(found))


def _floats(image: Any, channels: int, name: str) -> NDArray[np.float32]:
    """[channels, H, W] between 0 and 1."""
    array = _array(image, name)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise UserError(f"{name} has values outside of 0 to 1: scale them, or give uint8")
        floats: NDArray[Any] = array.astype(np.float32)
    elif array.dtype == np.uint16:
        floats = array.astype(np.float32) / 65535
    elif array.dtype.kind == "b":
        floats = array.astype(np.float32)
    else:
        if array.size and not (array.min() >= 0 and array.max() <= 255):
            raise UserError(f"{name} has values outside of 0 to 255: scale them to that range")
        floats = array.astype(np.float32) / 255
    if floats.shape[2] == 4:
        alpha = floats[:, :, 3:]
        floats = floats[:, :, :3] * alpha + (1 - alpha)
    if channels == 1 and floats.shape[2] == 3:
        floats = floats @ np.array(GREY, np.float32)[:, None]
    if channels == 3 and floats.shape[2] == 1:
        floats = floats.repeat(3, axis=2)
    return np.ascontiguousarray(floats.transpose(2, 0, 1), dtype=np.float32)


def _array(image: Any, name: str) -> NDArray[Any]:
    """[H, W, C] with 1, 3 or 4 channels."""
    if isinstance(image, Mapping) and {"bytes", "path"} & image.keys():
        held = image.get("bytes")
        image = io.BytesIO(held) if held is not None else image["path"]
    if isinstance(image, bytes):
        image = io.BytesIO(image)
    if isinstance(image, str | Path | io.BytesIO):
        with _opened(image, name) as opened:
            image = _decoded(opened, name)
    elif hasattr(image, "getbands"):
        image = _decoded(image, name)
    array = np.asarray(image)
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or 0 in array.shape:
        raise UserError(
            f"{name} is no image: the field must hold a path, an array [H, W], [H, W, C] or"
            f" [C, H, W], or an image of Pillow, not {type(image).__name__}"
        )
    if array.ndim == 2:
        return array[:, :, None]
    if array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.shape[2] not in _CHANNELS:
        raise UserError(f"{name} has shape {list(array.shape)}: images have 1, 3 or 4 channels")
    return array


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing_package("pillow", "vision") from error
    return Image


def _opened(path: str | Path | io.BytesIO, name: str) -> Any:
    try:
        return _pillow().open(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no image {path}: check the path") from error
    except OSError as error:
        raise _broken(name, error) from error


def _decoded(image: Any, name: str) -> NDArray[Any]:
    """The array of an image of Pillow in grey values or colours, upright."""
    from PIL import ImageOps

    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        if image.mode not in ("1", "L", "RGB", "RGBA", "I", "F"):
            clear = image.mode in ("LA", "PA", "La") or "transparency" in image.info
            image = image.convert("RGBA" if clear else "RGB")
        return np.asarray(image)
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> UserError:
    return UserError(f"{name} is no whole image ({_reason(error)}): get it again or take it out")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _times(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
