"""MinHash, duplicates, near duplicates."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pretrial.data.cleaning.dedup import (
    NONE,
    Duplicates,
    ExactDuplicates,
    NearDuplicates,
    deduplicate,
)
from pretrial.data.cleaning.minhash import MinHash, bands, similarity
from pretrial.errors import UserError


def made_text(rng: random.Random, num_words: int = 200) -> list[str]:
    return [f"w{rng.randrange(10_000)}" for _ in range(num_words)]


def true_jaccard(one: list[str], other: list[str], size: int = 5) -> float:
    sets = [{tuple(t[i : i + size]) for i in range(len(t) - size + 1)} for t in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_estimates_lie_within_three_standard_errors() -> None:
    rng = random.Random(1)
    minhash = MinHash(num_hashes=256)
    deviations = []
    for changes in (1, 2, 4, 8, 16, 30):
        for _ in range(20):
            text = made_text(rng)
            other = list(text)
            for place in rng.sample(range(len(text)), changes):
                other[place] = "changed"
            expected = true_jaccard(text, other)
            one, two = minhash.signatures([" ".join(text), " ".join(other)])
            error = np.sqrt(expected * (1 - expected) / 256)
            deviations.append((float(similarity(one, two)) - expected) / error)
    # 120 draws of a standard normal pass 3 with a chance of 1 in 4; none may pass 4
    assert np.abs(deviations).max() < 4
    assert (np.abs(deviations) < 3).mean() > 0.98
    assert abs(np.mean(deviations)) < 0.3
    assert 0.8 < np.std(deviations) < 1.2


def test_a_signature_is_the_least_hash_however_the_texts_are_cut() -> None:
    rng = random.Random(2)
    long = " ".join(made_text(rng, 40_000))  # several stretches of hashes
    texts = ["", long, "one", " ".join(made_text(rng, 50)), long + " more"]
    together = MinHash(num_hashes=16).signatures(texts)
    for row, text in zip(together, texts, strict=True):
        assert (row == MinHash(num_hashes=16).signatures([text])[0]).all()
    assert (together[0] == 2**32 - 1).all()
    assert float(similarity(together[1], together[4])) > 0.9


def test_bands_part_at_the_threshold() -> None:
    for threshold in (0.5, 0.8, 0.9):
        num_bands, num_rows = bands(threshold, 128)
        assert num_bands * num_rows <= 128

        def chance(s: float, b: int = num_bands, r: int = num_rows) -> float:
            return 1 - (1 - s**r) ** b

        assert chance(threshold + 0.1) > 0.8 > 0.3 > chance(threshold - 0.2)


def test_planted_duplicates_are_found_and_unlike_texts_are_not() -> None:
    rng = random.Random(3)
    texts = [made_text(rng) for _ in range(300)]
    near = []
    for text in texts[:100]:
        copy = list(text)
        copy[rng.randrange(200)] = "changed"
        near.append(" ".join(copy))
    finder = NearDuplicates(0.8)
    first = finder.add([" ".join(text) for text in texts[:150]])
    second = finder.add(near[:50] + [" ".join(text) for text in texts[150:]])
    third = finder.add(near[50:])
    assert first == [NONE] * 150
    assert second == [*range(50), *[NONE] * 150]
    assert third == list(range(50, 100))


def test_duplicates_within_one_batch() -> None:
    rng = random.Random(4)
    text = " ".join(made_text(rng))
    finder = NearDuplicates(0.8)
    assert finder.add(["", "", text, "short", text + " end", "short"]) == [-1, -1, -1, -1, 2, 3]


def test_equal_texts() -> None:
    exact = ExactDuplicates()
    assert exact.is_new("a\nb")
    assert not exact.is_new("a  \r\nb\n\n")
    assert exact.is_new("a b")


def test_rows_are_left_out_and_reported() -> None:
    rng = random.Random(5)
    texts = [" ".join(made_text(rng)) for _ in range(3)]
    bodies = [texts[0], texts[1], texts[0] + "\n", texts[1] + " tail", texts[2]]
    rows = [{"body": body, "number": number} for number, body in enumerate(bodies)]
    report = Duplicates()
    kept = list(deduplicate(rows, text_field="body", report=report))
    assert [row["number"] for row in kept] == [0, 1, 4]
    assert (report.num_texts, report.num_equal, report.num_near) == (5, 1, 1)
    assert report.pairs == [(3, 1)]
    only_equal = list(deduplicate(rows, text_field="body", threshold=1.0))
    assert [row["number"] for row in only_equal] == [0, 1, 3, 4]


def test_thresholds_are_shares() -> None:
    with pytest.raises(UserError, match="lies in"):
        NearDuplicates(0.0)
