"""Spoken words: what espeak-ng says, where it stands, and what is said without it."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from pretrial.data.builtin import spoken
from pretrial.data.builtin.catalogue import builtin
from pretrial.errors import UserError


def test_words_stand_near_the_middle_of_soft_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    def speak(word: str, voice: str, speed: int) -> Any:
        said.append((word, voice, speed))
        return np.full(4000, 0.5)

    monkeypatch.setattr(spoken, "_speak", speak)
    rows = spoken.spoken_words(("yes", "no"), speeds=(100,))
    assert len(rows) == 2 * 24 == len(set(said))
    starts = set()
    for row in rows:
        values = row["audio"]["array"]
        assert len(values) == row["audio"]["sampling_rate"] == 16_000
        loud = np.flatnonzero(values > 0.25)
        assert len(loud) == 4000
        starts.add(int(loud[0]))
        assert 0 < np.abs(np.delete(values, loud)).mean() < 0.01
    assert len(starts) > 40
    assert min(starts) >= 6000 - 1600
    assert max(starts) <= 6000 + 1600
    again = spoken.spoken_words(("yes", "no"), speeds=(100,))
    assert all(
        (a["audio"]["array"] == b["audio"]["array"]).all() for a, b in zip(rows, again, strict=True)
    )


def test_splits_keep_voices_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "_speak", lambda *_: np.ones(10))
    voices = [
        {row["voice"] for row in builtin("spoken-words", split=split)}
        for split in ("train", "valid", "test")
    ]
    assert not voices[0] & voices[2]
    assert len(set.union(*voices)) == 24


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken._speak.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="apt-get install espeak-ng"):
        spoken.spoken_words(("yes",), speeds=(100,))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="apt-get install espeak-ng")
def test_the_program_speaks() -> None:
    spoken._speak.cache_clear()
    values = spoken._speak("seven", "en-us+f1", 150)
    assert 0.2 < len(values) / 16_000 < 1
    assert values.std() > 0.02
    with pytest.raises(UserError, match="did not speak"):
        spoken._speak("seven", "nosuchvoice", 150)
