"""Words and shingles as hashes."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretrial.data.cleaning.shingles import batches, shingles, words

TEXTS = ["The cat sat.", "", "the  CAT\nsat on: a mat", "  ", "x_1=2", "a b"]


def test_layout_does_not_count_and_order_does() -> None:
    found = words(TEXTS)
    assert found.counts.tolist() == [3, 0, 6, 0, 2, 2]
    first, other = found.hashes[:3], found.hashes[3:6]
    assert (first == other).all()
    assert len(set(found.hashes.tolist())) == 6 + 2 + 2 - 1  # "a" comes twice
    one, _ = shingles(words(["a b c"]), 3)
    two, _ = shingles(words(["a c b"]), 3)
    assert one[0] != two[0]


def test_spans_are_bytes_of_the_text() -> None:
    texts = ["déjà vu", "(x+yy)", "漢字 ab"]
    found = words(texts)
    pieces = []
    for number, text in enumerate(texts):
        raw = text.encode()
        for start, end in found.spans[found.starts[number] : found.starts[number + 1]]:
            pieces.append(raw[start:end].decode())
    assert pieces == ["déjà", "vu", "x", "yy", "漢", "字", "ab"]


def test_shingles_of_short_texts() -> None:
    hashes, starts = shingles(words(["a b c d", "a b", "", "b a", "a b"]), 3)
    assert np.diff(starts).tolist() == [2, 1, 0, 1, 1]
    assert hashes[2] == hashes[4] != hashes[3]


@given(st.lists(st.text(alphabet="ab_1 .\né", max_size=30), min_size=1, max_size=6))
def test_as_a_plain_search_finds_them(texts: list[str]) -> None:
    found = words(texts)
    expected = [re.findall(r"\w+", text) for text in texts]
    assert found.counts.tolist() == [len(each) for each in expected]
    seen: dict[str, int] = {}
    for word, value in zip(chain(*expected), found.hashes.tolist(), strict=True):
        assert seen.setdefault(word, value) == value
    assert len(set(seen.values())) == len(seen)
    _, starts = shingles(found, 2)
    assert np.diff(starts).tolist() == [max(len(e) - 1, min(len(e), 1)) for e in expected]


def test_a_text_has_the_same_hashes_in_any_batch() -> None:
    alone = shingles(words([TEXTS[2]]), 2)[0]
    hashes, starts = shingles(words(TEXTS), 2)
    assert (hashes[starts[2] : starts[3]] == alone).all()


def test_batches_hold_about_so_much() -> None:
    parts = list(batches(["aaa", "bb", "c" * 20, "d"], capacity=8))
    assert parts == [["aaa", "bb"], ["c" * 20], ["d"]]
