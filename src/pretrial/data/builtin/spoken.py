"""Words spoken by espeak-ng, a program for synthetic speech, in many voices and speeds."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.rows import Row
from pretrial.errors import UserError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LANGUAGES = ("en-us", "en-gb", "en-gb-scotland")
_VARIANTS = ("m1", "m2", "m3", "m4", "f1", "f2", "f3", "f4")
_RATE = 16_000
_NOISE = 0.003  # soft
_SHIFT = _RATE // 10


def spoken_words(
    words: Sequence[str] = WORDS,
    speeds: Sequence[int] = (130, 160, 190),
    noise: float = _NOISE,
    seed: int = 0,
) -> list[Row]:
    """Recordings of one second, each with one word near the middle of noise.

    The word stands within a tenth of a second of the middle, as in Speech Commands (1804.03209),
    whose recordings were cut around their loudest part. So the sounds of a word have their time,
    though none has it exactly.

    Args:
        words: to speak.
        speeds: words a minute.
        noise: deviation of the background; speech has about 0.1.
        seed: of places and noise.

    Returns:
        Rows with `audio` ({"array", "sampling_rate"}), `label` (the word), `voice` and `speed`.

    Raises:
        UserError: espeak-ng is not installed.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for language in _LANGUAGES:
        for variant in _VARIANTS:
            voice = f"{language}+{variant}"
            for word in words:
                for speed in speeds:
                    sound = _speak(word, voice, speed)[:_RATE]
                    whole = rng.normal(0, noise, _RATE)
                    spare = _RATE - len(sound)
                    start = np.clip(spare // 2 + rng.integers(-_SHIFT, _SHIFT + 1), 0, spare)
                    whole[start : start + len(sound)] += sound
                    audio = {"array": whole.astype(np.float32), "sampling_rate": _RATE}
                    rows.append({"audio": audio, "label": word, "voice": voice, "speed": speed})
    return rows


@functools.cache
def _speak(word: str, voice: str, speed: int) -> NDArray[Any]:
    """The samples of a word, the silence around it cut away."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise UserError(
            "espeak-ng, the program that speaks the words, is not installed: install it as your"
            " system installs programs, such as with apt-get install espeak-ng"
        )
    done = subprocess.run(
        [program, "-v", voice, "-s", str(speed), "--stdout", word],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode or not done.stdout:
        raise UserError(
            f"espeak-ng did not speak {word!r} with the voice {voice}"
            f" ({done.stderr.decode(errors='replace').strip()}): check its installation"
        )
    from pretrial.data.media.audio import samples

    values = samples({"bytes": done.stdout}, _RATE).numpy()
    loud = np.flatnonzero(np.abs(values) > 0.01)
    return values[loud[0] : loud[-1] + 1] if len(loud) else values[:0]
