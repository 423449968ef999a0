"""What a search engine would answer: the reference of the training problem most like the one asked.

A trivial answer that the trial's baseline must beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretrial.data.problems.problem import Problem


class NearestReference:
    """Answers a problem with the reference of the nearest statement by TF-IDF of words and pairs.

    Args:
        problems: those with references are answered from.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.known = [problem for problem in problems if problem.solutions]
        self.vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]")
        self.matrix = self.vectors.fit_transform(_asked(problem) for problem in self.known)

    def generate_programs(
        self, problems: Sequence[Problem], num_samples: int, **_: Any
    ) -> list[list[str]]:
        """The same program, `num_samples` times a problem."""
        likeness = self.vectors.transform([_asked(problem) for problem in problems]) @ self.matrix.T
        nearest = likeness.toarray().argmax(axis=1)
        found = [self.known[place] for place in nearest.tolist()]
        return [[one.program(one.solutions[0])] * num_samples for one in found]


def _asked(problem: Problem) -> str:
    """The statement without its examples, whose numbers say nothing."""
    return problem.question.split("\n")[0]
