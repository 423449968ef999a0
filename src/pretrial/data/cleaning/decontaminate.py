"""Texts that share a run of words with an evaluation set.

Words are compared in lower case, without white space and punctuation, so that a solution which is
only laid out anew is found; one whose names were changed is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pretrial.data.cleaning.shingles import Hashes, batches, shingles, words
from pretrial.data.rows import Row
from pretrial.errors import UserError


class Contamination:
    """Knows the runs of words of an evaluation set.

    Args:
        references: its texts. One that is shorter than a run cannot be told from chance, and is
            left out.
        num_words: of a run.

    Raises:
        UserError: no reference is as long as a run.
    """

    def __init__(self, references: Iterable[str], num_words: int = 10) -> None:
        self.num_words = num_words
        parts = []
        for batch in batches(references):
            found = words(batch)
            hashes, starts = shingles(found, num_words)
            long = np.repeat(found.counts >= num_words, np.diff(starts))
            parts.append(hashes[long])
        self._known: Hashes = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)
        if not len(self._known):
            raise UserError(
                f"no text of the evaluation set has {num_words} words: ask for shorter runs"
            )

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many runs of each text are in the evaluation set."""
        hashes, starts = shingles(words(texts), self.num_words)
        at = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        hits = np.concatenate([[0], np.cumsum(self._known[at] == hashes)])
        return np.diff(hits[starts]).tolist()


@dataclass
class Contaminated:
    """What was left out.

    Attributes:
        num_texts: that were looked at.
        places: of those left out.
    """

    num_texts: int = 0
    places: list[int] = field(default_factory=list)


def decontaminate(
    rows: Iterable[Row],
    references: Iterable[str],
    *,
    text_field: str = "text",
    num_words: int = 10,
    report: Contaminated | None = None,
) -> Iterator[Row]:
    """Rows without those that share a run of words with the references, read while one iterates.

    Args:
        rows: the data.
        references: texts of the evaluation set.
        text_field: name of the text's field.
        num_words: of a run.
        report: is filled with what was left out.
    """
    report = report if report is not None else Contaminated()
    known = Contamination(references, num_words)
    for batch in batches(rows, lambda row: len(row[text_field])):
        for row, count in zip(batch, known.counts([row[text_field] for row in batch]), strict=True):
            if count:
                report.places.append(report.num_texts)
            else:
                yield row
            report.num_texts += 1
