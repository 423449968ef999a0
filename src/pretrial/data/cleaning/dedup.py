"""Duplicates in a stream of texts: equal ones, and near ones by MinHash.

The first of several alike is kept. Of a near duplicate, candidates share a band of their MinHash
signatures, and are then compared by whole signatures. What is kept in memory for each text that is
kept is its signature and its band keys: 0.6 to 0.8 kB, whatever its length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.key_index import KeyIndex
from pretrial.data.cleaning.minhash import MinHash, Signatures, bands, similarity
from pretrial.data.cleaning.shingles import batches
from pretrial.data.rows import Row
from pretrial.errors import UserError

NONE = -1  # no earlier text is alike


class ExactDuplicates:
    """Tells of each text whether an equal one came before, line ends and outer space aside."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def is_new(self, text: str) -> bool:
        """Whether no equal text came before; it is remembered."""
        plain = "\n".join(line.rstrip() for line in text.strip().splitlines())
        digest = hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=12).digest()
        before = len(self._seen)
        self._seen.add(digest)
        return len(self._seen) > before


class NearDuplicates:
    """Tells of each text which earlier one it nearly repeats.

    Args:
        threshold: similarity from which on two texts count as the same: the estimated share of
            shingles that they have in common.
        minhash: how signatures are made.
    """

    def __init__(self, threshold: float = 0.8, minhash: MinHash | None = None) -> None:
        if not 0 < threshold <= 1:
            raise UserError(f"the threshold of near duplicates lies in (0, 1], not at {threshold}")
        self.threshold = threshold
        self.minhash = minhash or MinHash()
        self._num_bands, self._num_rows = bands(threshold, self.minhash.num_hashes)
        self._kept = _Growing(self.minhash.num_hashes)
        self._numbers = _Growing(1, np.int64)
        self._index = KeyIndex()
        self._num_seen = 0

    def add(self, texts: Sequence[str]) -> list[int]:
        """For each text the number of the earlier one that it repeats, or NONE.

        Numbers count all texts that were ever added, from 0. Texts without words are never
        duplicates.
        """
        signatures = self.minhash.signatures(texts)
        keys = self.minhash.band_keys(signatures, self._num_bands, self._num_rows)
        known = self._index.find(keys)  # text in this batch: places of kept texts
        fresh: dict[int, int] = {}  # key: place of a text kept in this batch
        found, new = [], []
        for row, signature in enumerate(signatures):
            mine = keys[row].tolist()
            near = NONE
            if signature[0] != 2**32 - 1:
                candidates = {*known.get(row, ()), *(fresh[key] for key in mine if key in fresh)}
                near = self._nearest(signature, sorted(candidates))
                if near == NONE:
                    place = self._kept.append(signature)
                    self._numbers.append(np.array([self._num_seen + row]))
                    fresh |= {key: place for key in mine if key not in fresh}
                    new.append((row, place))
            found.append(near)
        if new:
            rows, places = zip(*new, strict=True)
            self._index.add(keys[list(rows)], np.array(places, dtype=np.int32))
        self._num_seen += len(texts)
        return found

    def _nearest(self, signature: Signatures, places: list[int]) -> int:
        """Number of the likest of the kept texts at `places`, if it is alike enough."""
        if not places:
            return NONE
        likeness = similarity(self._kept.rows(places), signature)
        best = int(likeness.argmax())
        enough = likeness[best] >= self.threshold
        return int(self._numbers.rows(places[best : best + 1])[0, 0]) if enough else NONE


@dataclass
class Duplicates:
    """What was left out.

    Attributes:
        num_texts: that were looked at.
        num_equal: left out since an equal one came before.
        num_near: left out since a near one came before.
        pairs: (place, place of the earlier one) of the near ones.
    """

    num_texts: int = 0
    num_equal: int = 0
    num_near: int = 0
    pairs: list[tuple[int, int]] = field(default_factory=list)


def deduplicate(
    rows: Iterable[Row],
    *,
    text_field: str = "text",
    threshold: float = 0.8,
    report: Duplicates | None = None,
) -> Iterator[Row]:
    """Rows without those whose text repeats an earlier one, read while one iterates.

    Args:
        rows: the data.
        text_field: name of the text's field.
        threshold: see `NearDuplicates`; 1 or more leaves out equal ones only.
        report: is filled with what was left out.
    """
    report = report if report is not None else Duplicates()
    if threshold >= 1:
        yield from (row for _, row in _distinct(rows, text_field, report))
        return
    near = NearDuplicates(threshold)
    places: list[int] = []  # in the data, by the number that `near` counts
    distinct = _distinct(rows, text_field, report)
    for batch in batches(distinct, lambda item: len(item[1][text_field])):
        places += [place for place, _ in batch]
        found = near.add([row[text_field] for _, row in batch])
        for (place, row), earlier in zip(batch, found, strict=True):
            if earlier == NONE:
                yield row
            else:
                report.num_near += 1
                report.pairs.append((place, places[earlier]))


def _distinct(rows: Iterable[Row], field: str, report: Duplicates) -> Iterator[tuple[int, Row]]:
    """Rows whose text is not equal to an earlier one, with their places; counts them all."""
    exact = ExactDuplicates()
    for place, row in enumerate(rows):
        report.num_texts += 1
        if exact.is_new(row[field]):
            yield place, row
        else:
            report.num_equal += 1


class _Growing:
    """Rows of numbers that are appended one by one."""

    def __init__(self, width: int, dtype: Any = np.uint32) -> None:
        self._rows = np.empty((64, width), dtype=dtype)
        self._length = 0

    def append(self, row: NDArray[Any]) -> int:
        """Its place."""
        if self._length == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._length] = row
        self._length += 1
        return self._length - 1

    def rows(self, places: Any) -> NDArray[Any]:
        """The rows at some places."""
        return self._rows[places]
