"""The exact index against brute force, and on the disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pretrial.evaluate.index as module
from pretrial.errors import UserError
from pretrial.evaluate.index import Index, fingerprint, kept_index


def made(num=50, width=8):
    source = np.random.default_rng(0)
    vectors = source.standard_normal((num, width)).astype(np.float32)
    return vectors, source.standard_normal((5, width)).astype(np.float32)


def brute(vectors, queries, top):
    left = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    right = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = left @ right.T
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(cosines, places, 1), places


@pytest.mark.parametrize("chunk", [7, 50, 1000])
@pytest.mark.parametrize("top", [1, 10, 50, 99])
def test_equals_brute_force(monkeypatch, chunk, top):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    monkeypatch.setattr(module, "_MOST_SCORES", 2 * chunk)
    vectors, queries = made()
    cosines, places = Index.of(torch.tensor(vectors)).search(queries, top)
    wanted_cosines, wanted_places = brute(vectors, queries, top)
    assert np.array_equal(places, wanted_places)
    np.testing.assert_allclose(cosines, wanted_cosines, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk", [3, 100])
def test_of_equal_ones_the_earlier(monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    index = Index.of(np.tile([[1.0, 2.0]], (9, 1)))
    assert index.search([[2.0, 1.0]], 4)[1].tolist() == [[0, 1, 2, 3]]


def test_comes_back_from_the_disk(tmp_path):
    vectors, queries = made()
    rows = [{"code": f"def f{i}(): 'ü\n'", "n": i} for i in range(50)]
    index = Index.of(vectors, rows, "here")
    index.save(tmp_path / "index")
    again = Index.load(tmp_path / "index")
    assert again.rows == rows
    assert again.origin == "here"
    (cosines, places), (wanted, order) = again.search(queries), index.search(queries)
    np.testing.assert_allclose(cosines, wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(places, order)


@pytest.mark.parametrize("file", ["vectors.npy", "rows.jsonl", "index.json"])
def test_a_damaged_index_says_so(tmp_path, file):
    Index.of(made()[0], [{"n": i} for i in range(50)]).save(tmp_path / "index")
    path = tmp_path / "index" / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="delete it"):
        Index.load(tmp_path / "index")
    with pytest.raises(UserError, match="delete it"):
        Index.load(tmp_path)


def test_what_cannot_be_searched_is_refused():
    index = Index.of(made()[0])
    with pytest.raises(UserError, match="8"):
        index.search(np.ones((1, 3)))
    with pytest.raises(UserError, match="top"):
        index.search(np.ones((1, 8)), 0)
    with pytest.raises(UserError, match="vector 1 is not finite"):
        Index.of(np.array([[1.0], [np.nan]]))
    with pytest.raises(UserError, match="one vector"):
        Index.of(np.zeros((0, 3)))


def test_a_row_of_zeros_is_like_nothing():
    cosines, _ = Index.of([[0.0, 0.0], [1.0, 0.0]]).search([[1.0, 1.0]], 2)
    np.testing.assert_allclose(cosines, [[2**-0.5, 0.0]], rtol=1e-6)


def test_a_kept_index_is_made_once_and_only_for_its_corpus(tmp_path):
    calls = []

    def encode(texts):
        calls.append(len(texts))
        return torch.tensor([[len(text), 1.0] for text in texts])

    rows = [{"text": "a"}, {"text": "bbb"}]
    texts = ["a", "bbb"]
    folder = tmp_path / "index"
    one = kept_index(folder, rows, texts, encode, "m")
    two = kept_index(folder, rows, texts, encode, "m")
    assert calls == [2]
    assert np.array_equal(one.vectors, two.vectors)
    for other in ((["a", "bbc"], "m"), (texts, "n")):
        with pytest.raises(UserError, match="another corpus or model"):
            kept_index(folder, rows, other[0], encode, other[1])
    kept_index(None, rows, texts, encode)
    assert calls == [2, 2]
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
