"""An exact index of vectors: cosine top-k by plain matrix products, kept in a folder.

One product of 100,000 x 256 numbers is some 10 ms of a core's time (bench/retrieval.py), so up to a
few million documents nothing approximate is needed, and no result is ever missed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.errors import UserError
from pretrial.train.checkpoint import whole_folder

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_VECTORS, _ROWS, _ABOUT = "vectors.npy", "rows.jsonl", "index.json"
# Scores of one product at most, 64 MB
_MOST_SCORES = 2**24
_CHUNK = 2**18


class Index:
    """Vectors of length 1, and a row of whatever belongs to each.

    Args:
        vectors: [N, d], of length 1 (or 0); see `of` for any others.
        rows: what belongs to each vector, such as {"code": ..., "path": ...}; N of them or none.
        origin: says what the vectors were made from, see `fingerprint`.
    """

    def __init__(
        self, vectors: Floats, rows: Sequence[dict[str, Any]] = (), origin: str = ""
    ) -> None:
        assert not rows or len(rows) == len(vectors)
        self.vectors = vectors
        self.rows = rows
        self.origin = origin

    @classmethod
    def of(cls, vectors: Any, rows: Sequence[dict[str, Any]] = (), origin: str = "") -> Index:
        """The index of vectors of any length: a tensor or an array [N, d].

        Raises:
            UserError: there are none, or one is not finite.
        """
        return cls(_unit(vectors), rows, origin)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Any, top: int = 10) -> tuple[Floats, Places]:
        """The nearest vectors of each query by cosine, the best first.

        Of equal ones the earlier comes first.

        Args:
            queries: a tensor or an array [Q, d] of any length.
            top: how many; all of them where there are fewer.

        Returns:
            Cosines [Q, top] and places [Q, top].

        Raises:
            UserError: the width is another one, or `top` is below 1.
        """
        wanted = _unit(queries)
        if wanted.shape[1] != self.vectors.shape[1]:
            raise UserError(
                f"the queries have {wanted.shape[1]} numbers and the index {self.vectors.shape[1]}:"
                " make the index with the model that encodes the queries"
            )
        if top < 1:
            raise UserError(f"top is at least 1, not {top}")
        top = min(top, len(self))
        chunk = min(_CHUNK, len(self))
        rows = max(_MOST_SCORES // chunk, 1)
        found = [
            self._search_block(wanted[start : start + rows], top, chunk)
            for start in range(0, len(wanted), rows)
        ]
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    def _search_block(self, queries: Floats, top: int, chunk: int) -> tuple[Floats, Places]:
        """The nearest of a few queries, looked for chunk by chunk."""
        scores: list[list[Floats]] = [[] for _ in queries]
        places: list[list[Places]] = [[] for _ in queries]
        for start in range(0, len(self), chunk):
            products = queries @ self.vectors[start : start + chunk].T
            for query, row in enumerate(products):
                best = _best(row, top)
                scores[query].append(row[best])
                places[query].append(best + start)
        nearest = []
        for one, where in zip(scores, places, strict=True):
            score, place = np.concatenate(one), np.concatenate(where)
            order = np.lexsort((place, -score))[:top]
            nearest.append((score[order], place[order]))
        return np.stack([s for s, _ in nearest]), np.stack([p for _, p in nearest])

    def save(self, folder: Path) -> None:
        """Writes the index into a folder that is not there yet, whole or not at all."""
        with whole_folder(folder, self.vectors.nbytes) as partial:
            np.save(partial / _VECTORS, self.vectors)
            with (partial / _ROWS).open("w", encoding="utf-8") as file:
                for row in self.rows:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            about = {"num_vectors": len(self), "num_rows": len(self.rows), "origin": self.origin}
            (partial / _ABOUT).write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Reads what `save` wrote; the vectors stay on the disk until they are needed.

        Raises:
            UserError: the folder holds no index, or a damaged one.
        """
        try:
            about = json.loads((folder / _ABOUT).read_text())
            vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
            lines = (folder / _ROWS).read_text(encoding="utf-8").split("\n")[:-1]
            rows = [json.loads(line) for line in lines]
            if (len(vectors), len(rows)) != (about["num_vectors"], about["num_rows"]):
                raise ValueError("it is not complete")
            if vectors.ndim != 2 or not all(isinstance(row, dict) for row in rows):
                raise ValueError("it holds something else")
            return cls(vectors, rows, about["origin"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"the folder {folder} holds no index that can be read ({error}): delete it to have"
                " it made anew"
            ) from error


def kept_index(
    folder: Path | None,
    rows: Sequence[dict[str, Any]],
    texts: Sequence[str],
    encode: Callable[[Sequence[str]], Any],
    model: str = "",
) -> Index:
    """The index of a corpus; with a folder it is made once and found there later.

    Args:
        folder: where it is kept, or None.
        rows: what belongs to each text.
        texts: the documents.
        encode: texts to vectors [N, d].
        model: says which weights `encode` has, so that an index of others is refused.

    Raises:
        UserError: the folder holds an index of another corpus or model.
    """
    origin = fingerprint([model, *texts])
    if folder is not None and folder.exists():
        index = Index.load(folder)
        if index.origin != origin:
            raise UserError(
                f"the index in {folder} was made from another corpus or model: give another folder,"
                " or delete it to have it made anew"
            )
        return index
    index = Index.of(encode(texts), rows, origin)
    if folder is not None:
        index.save(folder)
    return index


def fingerprint(texts: Iterable[str]) -> str:
    """A short name that changes with any of the texts or their order."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:32]


def _best(scores: Floats, top: int) -> Places:
    """Places of the `top` largest, the largest first, of equal ones the earlier."""
    if top < len(scores):
        bar = np.partition(scores, len(scores) - top)[len(scores) - top]
        places = np.flatnonzero(scores >= bar)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")[:top]]


def _unit(vectors: Any) -> Floats:
    """[N, d] float32 rows of length 1; a row of zeros stays one."""
    if hasattr(vectors, "detach"):
        vectors = vectors.detach().float().cpu().numpy()
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or not len(rows):
        raise UserError(f"an index needs one vector or more, [N, d], not the shape {rows.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        place = int(np.flatnonzero(~np.isfinite(lengths))[0])
        raise UserError(f"vector {place} is not finite: look at the model that made it")
    return rows / np.maximum(lengths, 1e-12)
