"""Noise on words."""

import random

from pretrial.corrupt.words import copy_words, delete_words, reword, switch_words


def test_a_few_words_go_change_places_or_come_twice():
    words = ["Return", "the", "list", "of", "all", "given", "files"]
    for seed in range(20):
        rng = random.Random(seed)
        assert len(delete_words(words, rng)) == len(words) - 1
        assert sorted(switch_words(words, rng)) == sorted(words)
        copied = copy_words(words, rng)
        assert len(copied) == len(words) + 1
        assert [w for n, w in enumerate(copied) if n == 0 or w != copied[n - 1]] == words
    assert delete_words(["one"], rng) == ["one"]  # never all
    reworded = {" ".join(reword(words, random.Random(s))) for s in "ab"}
    assert all("list" in text or "sequence" in text for text in reworded)
