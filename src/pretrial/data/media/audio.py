"""Sound: rows of it from files, its samples, and its log-mel spectrogram.

The field `audio` of a row holds the path of a file, the samples with their rate as a Hugging Face
data set has them, {"array", "sampling_rate"}, or that set's {"path", "bytes"}. Files of plain PCM
(.wav) need no package; others are read by soundfile.
"""

from __future__ import annotations

import functools
import io
import wave
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.errors import UserError, missing_package

# Programs that write to a pipe, such as espeak-ng, do not know the length and say about 2 GB.
_STREAMED = 0x7FFF0000


def samples(audio: Any, rate: int, name: str = "") -> Tensor:
    """The samples [T] of one recording at `rate` a second, between -1 and 1; channels are averaged.

    Another rate is changed through the spectrum, which keeps what both rates can hold.

    Args:
        audio: what the field `audio` holds.
        rate: samples a second.
        name: what an error calls it; else its path.

    Raises:
        UserError: it cannot be read, is silent of samples, or a package is missing.
    """
    name = name or (str(audio) if isinstance(audio, str | Path) else "a recording")
    array, found = _read(audio, name)
    values = np.asarray(array, np.float32)
    if values.ndim == 2:
        values = values.mean(1)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise UserError(f"{name} holds no samples, or not finite ones: take it out")
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor if found == rate else resampled(tensor, found, rate)


def resampled(values: Tensor, old: int, new: int) -> Tensor:
    """Samples [T] at the rate `old` as samples [T * new / old] at the rate `new`."""
    length = max(1, round(len(values) * new / old))
    spectrum = torch.fft.rfft(values)
    kept = min(len(spectrum), length // 2 + 1)
    return torch.fft.irfft(spectrum[:kept], n=length) * (length / len(values))


def log_mel(
    values: Tensor, rate: int, *, num_mels: int = 80, window: float = 0.025, hop: float = 0.01
) -> Tensor:
    """The log-mel spectrogram [..., num_mels, frames] of samples [..., T].

    A frame is whole: nothing is padded at the ends, so there are 1 + (T - window) // hop of them.

    Args:
        values: samples.
        rate: a second.
        num_mels: bands, from 0 Hz to half the rate.
        window: seconds of a frame.
        hop: seconds from one frame to the next.
    """
    size, step = round(window * rate), round(hop * rate)
    num_bins = 2 ** (size - 1).bit_length()
    frames = values.unfold(-1, size, step) * torch.hann_window(size, device=values.device)
    power = torch.fft.rfft(frames, n=num_bins).abs() ** 2  # [..., frames, bins]
    mels = power @ _filters(num_bins // 2 + 1, num_mels, rate).to(values.device)
    return mels.clamp(min=1e-6).log().transpose(-1, -2)


@functools.cache
def _filters(num_bins: int, num_mels: int, rate: int) -> Tensor:
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(num_bins, num_mels, 0.0, rate / 2, rate, mel_scale="htk")
    return torch.from_numpy(np.asarray(bank, np.float32))  # [bins, mels]


def _read(audio: Any, name: str) -> tuple[Any, int]:
    """Samples, [T] or [T, channels], and their rate."""
    if isinstance(audio, Mapping) and "array" in audio:
        return audio["array"], int(audio["sampling_rate"])
    file: Any = audio
    if isinstance(audio, Mapping) and {"bytes", "path"} & audio.keys():
        held = audio.get("bytes")
        file = io.BytesIO(held) if held is not None else audio["path"]
    if not isinstance(file, str | Path | io.BytesIO):
        raise UserError(
            f"{name} is no recording: the field must hold a path, or samples as"
            f' {{"array", "sampling_rate"}}, not {type(audio).__name__}'
        )
    if isinstance(file, str | Path) and not Path(file).is_file():
        raise UserError(f"there is no recording {file}: check the path")
    held = file if isinstance(file, io.BytesIO) else Path(file)
    if fault := sound_fault(held):
        raise UserError(f"{name} is no whole recording ({fault}): get it again or take it out")
    try:
        with wave.open(str(held) if isinstance(held, Path) else held, "rb") as opened:
            return _pcm(opened)
    except (wave.Error, EOFError):  # another format, or another coding inside
        return _by_soundfile(held, name)


def sound_fault(file: Path | io.BytesIO) -> str:
    """Why a .wav file is damaged, "" where it seems whole; other formats are not looked into."""
    source: Any = nullcontext(file) if isinstance(file, io.BytesIO) else file.open("rb")
    with source as opened:
        is_wave = opened.read(4) == b"RIFF"
        size = opened.seek(0, io.SEEK_END)
        opened.seek(0)
        if not is_wave:
            return ""
        try:
            with wave.open(opened, "rb") as wav:
                needed = wav.getnframes() * wav.getnchannels() * wav.getsampwidth()
        except EOFError:
            return "it is cut short"
        except wave.Error as error:
            return "" if str(error).startswith("unknown format") else str(error)
        finally:
            opened.seek(0)
    return "it is cut short" if size < needed < _STREAMED else ""


def _pcm(opened: wave.Wave_read) -> tuple[NDArray[Any], int]:
    width, channels = opened.getsampwidth(), opened.getnchannels()
    raw = opened.readframes(opened.getnframes())
    raw = raw[: len(raw) // (width * channels) * width * channels]
    values: NDArray[Any]
    if width == 1:
        values = np.frombuffer(raw, np.uint8).astype(np.float32) / 128 - 1
    elif width == 3:
        low, middle, high = np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.int32).T
        values = ((high << 24 | middle << 16 | low << 8) >> 8).astype(np.float32) / 2**23
    else:
        kind = {2: "<i2", 4: "<i4"}[width]
        values = np.frombuffer(raw, kind).astype(np.float32) / 2.0 ** (8 * width - 1)
    return values.reshape(-1, channels), opened.getframerate()


def _by_soundfile(file: Any, name: str) -> tuple[Any, int]:
    try:
        import soundfile
    except (ModuleNotFoundError, OSError) as error:  # OSError: its library is missing
        missing = missing_package("soundfile", "audio")
        raise UserError(f"{name} is no plain .wav file, and {missing}") from error
    if isinstance(file, io.BytesIO):
        file.seek(0)
    try:
        values, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{name} is no sound that can be read ({error}): take it out") from error
    return values, int(rate)
