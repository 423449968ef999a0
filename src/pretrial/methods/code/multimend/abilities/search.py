"""Which candidates to try, and when to stop.

An assignment gives each hunk a candidate, or None to leave it as it was. To validate one is to
apply it and count the tests that fail.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pretrial.methods.code.multimend.abilities.ranking import Candidate, rank_everywhere
from pretrial.methods.code.multimend.config import Strategy

Assignment = tuple[Candidate | None, ...]
Failing = Callable[[Assignment], float]


@dataclass
class Found:
    """What a search has found.

    Attributes:
        before: tests that fail without any patch.
        tried: assignments in the order of their validation, with the tests that fail.
        accepted: those of them that the progressive search has kept, one after the other.
        exhausted: False where the limit of validations has ended the search.
    """

    before: float
    tried: list[tuple[Assignment, float]] = field(default_factory=list)
    accepted: list[tuple[Assignment, float]] = field(default_factory=list)
    exhausted: bool = True

    @property
    def num_validations(self) -> int:
        """How often the tests have run."""
        return len(self.tried)

    @property
    def plausible(self) -> Assignment | None:
        """The assignment with which no test fails."""
        return next((assignment for assignment, failing in self.tried if failing == 0), None)


class Search:
    """One search over the candidates of the hunks of a bug.

    Args:
        candidates: of each hunk, best first.
        failing: applies an assignment, runs the tests and counts those that fail.
        before: what it counts without any patch.
        max_validations: most runs of the tests; 0 is no limit.
    """

    def __init__(
        self,
        candidates: Sequence[Sequence[Candidate]],
        failing: Failing,
        before: float,
        max_validations: int = 0,
    ) -> None:
        self.candidates = candidates
        self.failing = failing
        self.left = max_validations or math.inf
        self.found = Found(before)
        self._known: dict[tuple[str | None, ...], float] = {}

    def run(self, strategy: Strategy = "progressive") -> Found:
        """Search until no test fails, all is tried, or the limit is reached.

        Args:
            strategy: for several hunks. All begin with the same text everywhere. "progressive" goes
                on from hunk to hunk and keeps what lowers the number of failing tests, "cross" with
                all combinations, the least sum of ranks first, "same" with nothing.
        """
        if not any(self.candidates) or self.found.before == 0:
            return self.found
        if len(self.candidates) == 1:
            self._first_plausible((candidate,) for candidate in self.candidates[0])
            return self.found
        same = ((one,) * len(self.candidates) for one in rank_everywhere(self.candidates))
        if self._first_plausible(same) or not self.found.exhausted or strategy == "same":
            return self.found
        if strategy == "progressive":
            self._progressive()
        else:
            self._first_plausible(self._combinations())
        return self.found

    def _first_plausible(self, assignments: Iterator[Assignment]) -> bool:
        for assignment in assignments:
            failing = self._validate(assignment)
            if failing is None:
                return False
            if failing == 0:
                return True
        return False

    def _progressive(self) -> None:
        """Hunk by hunk, those that follow still as they were.

        The cost is the sum, and not the product, of the numbers of candidates.
        """
        best: list[Candidate | None] = [None] * len(self.candidates)
        fewest = self.found.before
        for place, candidates in enumerate(self.candidates):
            for candidate in candidates:
                assignment = (*best[:place], candidate, *best[place + 1 :])
                failing = self._validate(assignment)
                if failing is None:
                    return
                if failing < fewest:
                    best[place], fewest = candidate, failing
                    self.found.accepted.append((assignment, failing))
                    break
            if fewest == 0:
                return

    def _combinations(self) -> Iterator[Assignment]:
        """All combinations by the sum of their places, without holding them all."""
        sizes = [len(candidates) for candidates in self.candidates]
        for total in range(sum(sizes) - len(sizes) + 1):
            for places in _summing_to(total, sizes):
                yield tuple(
                    ranked[place] for ranked, place in zip(self.candidates, places, strict=True)
                )

    def _validate(self, assignment: Assignment) -> float | None:
        """Tests that fail; None where the limit is reached. What is known is not run again."""
        key = tuple(None if one is None else one.key for one in assignment)
        if key not in self._known:
            if self.left < 1:
                self.found.exhausted = False
                return None
            self.left -= 1
            self._known[key] = self.failing(assignment)
            self.found.tried.append((assignment, self._known[key]))
        return self._known[key]


def _summing_to(total: int, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Places, one below each size, that sum to `total`, in the order of the first ones."""
    if len(sizes) == 1:
        if total < sizes[0]:
            yield (total,)
        return
    for first in itertools.islice(range(total + 1), sizes[0]):
        for rest in _summing_to(total - first, sizes[1:]):
            yield (first, *rest)
