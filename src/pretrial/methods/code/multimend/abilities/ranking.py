"""One ranking from the beams of several checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pretrial.methods.code.multimend.data.fixes import collapsed


class Candidate(NamedTuple):
    """A text that may stand in place of a hunk.

    Attributes:
        text: as it was written; "" removes the hunk.
        rank: its place in the beam of a checkpoint, from 0; the best one of all checkpoints.
        score: log-probability over length, of that beam.
    """

    text: str
    rank: int
    score: float

    @property
    def key(self) -> str:
        """Texts that differ in white space only have one key."""
        return collapsed(self.text)


Beam = Sequence[tuple[str, float]]


def rank(beams: Sequence[Beam], source: str) -> list[Candidate]:
    """The candidates of a hunk, best first: by their rank, then by their score, each once.

    What equals the source is left out, and removing a hunk comes first where there is something to
    remove, unless a beam holds it, which ranks it first too.

    Args:
        beams: for each checkpoint (text, score), the likeliest first.
        source: the wrong lines.
    """
    found = [
        Candidate(text.strip(), place, score) if text.strip() else Candidate("", 0, 0.0)
        for beam in beams
        for place, (text, score) in enumerate(beam)
    ]
    # release: by the rank in a checkpoint's beam, then by the score; of equal texts the first stays
    found.sort(key=lambda candidate: (candidate.rank, -candidate.score))
    once: dict[str, Candidate] = {}
    for candidate in found:
        if candidate.key != collapsed(source):
            once.setdefault(candidate.key, candidate)
    empty = [] if "" in once or not source.strip() else [Candidate("", 0, 0.0)]
    return [*empty, *once.values()]


def rank_everywhere(hunks: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """What was written for every hunk: by the sum of its ranks, then by its best score."""
    tables = [{candidate.key: candidate for candidate in ranked} for ranked in hunks]
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    found = [
        Candidate(
            tables[0][key].text,
            sum(table[key].rank for table in tables),
            max(table[key].score for table in tables),
        )
        for key in shared
    ]
    return sorted(found, key=lambda candidate: (candidate.rank, -candidate.score))
