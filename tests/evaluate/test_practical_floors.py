"""The floors of classifiers: the majority, and a linear model on what anybody can count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pretrial.errors import UserError
from pretrial.evaluate.floors import floor_of

pytest.importorskip("sklearn")


def texts(num: int) -> list[dict[str, Any]]:
    words = {"fruit": ["apple", "pear", "plum"], "tool": ["saw", "drill", "hammer"]}
    rng = np.random.default_rng(num)
    return [
        {"text": f"a {rng.choice(words[name])} of {number}", "label": name}
        for number, name in enumerate(["fruit", "tool", "fruit"] * num)
    ]


def test_texts_are_told_apart_by_their_words() -> None:
    train, test = texts(20), texts(7)
    majority, linear = floor_of(train, test, "text")
    assert majority.accuracy.value == pytest.approx(2 / 3)
    shares = {"fruit": 41 / 62, "tool": 21 / 62}
    wanted = -np.mean([math.log(shares[row["label"]]) for row in test])
    assert majority.log_loss.value == pytest.approx(wanted)
    assert linear.name.startswith("TF-IDF")
    assert linear.accuracy.value == 1.0
    assert linear.log_loss.value < majority.log_loss.value


def test_images_and_recordings_have_floors_too() -> None:
    rng = np.random.default_rng(0)
    images, sounds = [], []
    for number in range(60):
        image = rng.integers(0, 90, (8, 8), dtype=np.uint8)
        image[number % 2 * 4 :][:4] += 120
        images.append({"image": image, "label": number % 2})
        # of uneven lengths, one of them shorter than a frame
        time = np.arange(100 if number == 3 else 1600 + 100 * number) / 16_000
        tone = np.sin(2 * np.pi * (300 if number % 2 else 1200) * time) + rng.normal(
            0, 0.1, len(time)
        )
        sounds.append({"audio": {"array": tone / 2, "sampling_rate": 16_000}, "label": number % 2})
    for kind, rows in (("image", images), ("audio", sounds)):
        _, linear = floor_of(rows[:40], rows[40:], kind)  # type: ignore[arg-type]
        assert linear.accuracy.value == 1.0, kind


def test_a_class_that_nobody_has_seen_is_wrong_and_not_infinite() -> None:
    test = [*texts(2), {"text": "a whale", "label": "beast"}]
    for floor in floor_of(texts(20), test, "text"):
        assert floor.right[-1] == 0
        assert np.isfinite(floor.nll).all()


def test_one_class_alone_has_the_majority_as_its_floor() -> None:
    same = [{"text": "a pear", "label": "fruit"}] * 4
    majority, linear = floor_of(same, same, "text")
    assert majority.accuracy.value == linear.accuracy.value == 1.0
    with pytest.raises(UserError, match="label"):
        floor_of([{"text": "a pear"}], same, "text")
