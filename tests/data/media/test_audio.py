"""Sound: files of PCM, rates, and the log-mel spectrogram."""

from __future__ import annotations

import io
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretrial.data.media.audio import log_mel, resampled, samples, sound_fault
from pretrial.data.reading.sources import load
from pretrial.errors import UserError

RATE = 8000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)


def write(path: Any, values: Any, width: int = 2, rate: int = RATE, channels: int = 1) -> Any:
    scaled = np.round(np.asarray(values) * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        scaled = scaled + 128
    raw = b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in scaled.flatten())
    with wave.open(path if hasattr(path, "write") else str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_all_widths_of_pcm(tmp_path: Path, width: int) -> None:
    path = write(tmp_path / "a.wav", TONE, width)
    found = samples(path, RATE)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), TONE, atol=0.02 if width == 1 else 1e-4)


def test_channels_are_averaged_and_all_forms_are_read(tmp_path: Path) -> None:
    both = np.stack([TONE, -TONE], 1)
    path = write(tmp_path / "a.wav", both, channels=2)
    assert samples(path, RATE).abs().max() < 1e-4
    path = write(tmp_path / "b.wav", TONE)
    forms = [
        str(path),
        {"array": TONE, "sampling_rate": RATE},
        {"bytes": path.read_bytes(), "path": None},
        {"bytes": None, "path": str(path)},
    ]
    for form in forms:
        np.testing.assert_allclose(samples(form, RATE).numpy(), TONE, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 11025, 16000])
def test_another_rate_keeps_the_tone(rate: int) -> None:
    found = resampled(torch.tensor(TONE, dtype=torch.float32), RATE, rate).numpy()
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_log_mel_is_that_of_transformers() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram

    noise = np.random.default_rng(0).normal(size=4000)
    found = log_mel(torch.tensor(noise, dtype=torch.float32), RATE, num_mels=20)
    bank = mel_filter_bank(129, 20, 0.0, RATE / 2, RATE, mel_scale="htk")
    window = torch.hann_window(200).double().numpy()
    theirs = spectrogram(
        noise,
        window,
        200,
        80,
        fft_length=256,
        power=2.0,
        center=False,
        mel_filters=bank,
        mel_floor=1e-6,
    )
    assert found.shape == (20, 1 + (4000 - 200) // 80)
    np.testing.assert_allclose(found.numpy(), np.log(theirs), atol=1e-3)


def test_folder_with_labels(tmp_path: Path) -> None:
    for label in ("yes", "no"):
        (tmp_path / label).mkdir()
        write(tmp_path / label / "a.wav", TONE)
    (tmp_path / "README.md").write_text("words")
    rows = load(tmp_path)
    assert [(row["path"], row["label"]) for row in rows] == [
        ("no/a.wav", "no"),
        ("yes/a.wav", "yes"),
    ]
    assert len(samples(rows[0]["audio"], RATE)) == RATE


def test_what_is_no_sound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"there is no recording .*gone\.wav"):
        samples(tmp_path / "gone.wav", RATE)
    with pytest.raises(UserError, match="is no recording"):
        samples(3, RATE)
    with pytest.raises(UserError, match="holds no samples"):
        samples({"array": np.zeros(0), "sampling_rate": RATE}, RATE)
    empty = io.BytesIO()
    write(empty, np.zeros(0))
    with pytest.raises(UserError, match="holds no samples"):
        samples({"bytes": empty.getvalue()}, RATE)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"pretrial\[audio\]"):
        samples(tmp_path / "a.flac", RATE)


def test_damaged_files_are_told_from_other_formats(tmp_path: Path) -> None:
    write(tmp_path / "whole.wav", TONE)
    whole = (tmp_path / "whole.wav").read_bytes()
    damaged = {
        "head.wav": whole[:30],
        "data.wav": whole[:-1001],
        "junk.wav": b"RIFF\x10\0\0\0WAVEjunk",
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} is no whole recording .*get it again"):
            samples(tmp_path / name, RATE)
        with pytest.raises(UserError, match="is no whole recording"):
            samples({"bytes": content}, RATE)
    stream = bytearray(whole[:-1])
    stream[40:44] = (0x7FFFFFFF).to_bytes(4, "little")  # as written to a pipe
    assert len(samples({"bytes": bytes(stream)}, RATE)) == RATE - 1
    floats = bytearray(whole)
    floats[20] = 3  # the code of floating-point samples, which soundfile reads
    (tmp_path / "floats.wav").write_bytes(floats)
    faults = {path.name: sound_fault(path) for path in tmp_path.iterdir()}
    assert {name for name, fault in faults.items() if fault} == damaged.keys()
    with pytest.raises(UserError, match=r"no whole recording .*--skip-bad"):
        load(tmp_path)
    assert [row["path"] for row in load(tmp_path, skip_bad=True)] == ["floats.wav", "whole.wav"]
