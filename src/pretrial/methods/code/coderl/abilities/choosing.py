"""Which programs a search goes on with, and from where: likelihood, a critic, or chance says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from pretrial.methods.code.coderl.network.critic import Critic, Judged
from pretrial.methods.code.coderl.network.model import ProgramModel

PASSED = 1  # class of the binary critic
Choose = Literal["likelihood", "critic", "random"]


class Seed(NamedTuple):
    """Where a program is gone on from.

    Attributes:
        keep: tokens that new programs begin with.
        score: the higher, the more promising.
    """

    keep: int
    score: float


class Chooser(Protocol):
    """Scores programs of one problem, and says how much of each to keep."""

    def scores(self, source: list[int], programs: Sequence[list[int]]) -> list[float]:
        """How promising whole programs are, the higher the more."""

    def seeds(
        self, source: list[int], programs: Sequence[list[int]], lengths: Sequence[int]
    ) -> list[Seed]:
        """Where to go on from; `lengths` are those of the programs without what ends them."""


class ByLikelihood:
    """By the actor's own mean log-probability; it is gone on from before the least sure token."""

    def __init__(self, actor: ProgramModel) -> None:
        self.actor = actor

    def scores(self, source: list[int], programs: Sequence[list[int]]) -> list[float]:
        return [float(own.mean()) for own in self._log_probs(source, programs)]

    def seeds(
        self, source: list[int], programs: Sequence[list[int]], lengths: Sequence[int]
    ) -> list[Seed]:
        found = self._log_probs(source, programs)
        return [
            Seed(least_sure(own, length), float(own.mean()))
            for own, length in zip(found, lengths, strict=True)
        ]

    def _log_probs(self, source: list[int], programs: Sequence[list[int]]) -> list[Tensor]:
        return self.actor.token_log_probs([(source, ids) for ids in programs])


class ByCritic:
    """By the binary critic's p(passed), of whole programs and of their prefixes."""

    def __init__(self, checker: Critic) -> None:
        self.checker = checker

    def scores(self, source: list[int], programs: Sequence[list[int]]) -> list[float]:
        return self.checker.program_scores([Judged(source, ids, PASSED) for ids in programs])

    def seeds(
        self, source: list[int], programs: Sequence[list[int]], lengths: Sequence[int]
    ) -> list[Seed]:
        curves = self.checker.token_scores([Judged(source, ids, PASSED) for ids in programs])
        keep = [refine_seed(curve, n) for curve, n in zip(curves, lengths, strict=True)]
        return [Seed(k, float(curve[k])) for k, curve in zip(keep, curves, strict=True)]


class AtRandom:
    """The control that the others have to beat."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def scores(self, source: list[int], programs: Sequence[list[int]]) -> list[float]:
        return torch.rand(len(programs), generator=self.generator).tolist()

    def seeds(
        self, source: list[int], programs: Sequence[list[int]], lengths: Sequence[int]
    ) -> list[Seed]:
        draws = torch.rand(len(programs), generator=self.generator).tolist()
        return [Seed(int(d * (n + 1)), 0.0) for d, n in zip(draws, lengths, strict=True)]


def least_sure(log_probs: Tensor, length: int) -> int:
    """How many tokens stand before the least probable one of the program; the first of equals.

    Args:
        log_probs: [T].
        length: tokens of the program without what ends it; the end itself may be the least sure.
    """
    return int(log_probs[: length + 1].argmin())


def refine_seed(scores: Tensor, length: int) -> int:
    """How many tokens of a program to keep as the seed of new ones, by a critic.

    Args:
        scores: [T] with scores[i] = p(passed | first i tokens).
        length: tokens of the program without what ends it.

    The prefix ends at the highest score, the longest of equals, among the positions before the
    first at which failing becomes likelier than passing (all positions where it never does). A
    critic that doubts from the first position on, as one does that has seen few passes, has no such
    position.
    """
    scores = scores[: length + 1]
    falls = ((scores[1:] < 0.5) & (scores[:-1] >= 0.5)).nonzero()
    end = int(falls[0]) + 1 if len(falls) else len(scores)
    return end - 1 - int(scores[:end].flip(0).argmax())
