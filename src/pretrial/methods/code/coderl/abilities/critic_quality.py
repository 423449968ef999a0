"""How good is the binary critic? Its accuracy and AUC by how much of a program it has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pretrial.data.problems.problem import Problem
from pretrial.evaluate.auc import roc_auc
from pretrial.methods.code.coderl.data.samples import Sample
from pretrial.methods.code.coderl.network.critic import Critic, Judged

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
_PASSED = 1


@dataclass(frozen=True)
class Quality:
    """The binary critic on programs whose outcomes are known.

    Attributes:
        fraction: of the program that it has read.
        accuracy: share of programs whose outcome it tells right at a threshold of one half.
        majority_accuracy: of always saying what most programs do.
        auc: probability that a passing program scores above a failing one; None where there are not
            both.
    """

    fraction: float
    accuracy: float
    majority_accuracy: float
    auc: float | None


def critic_quality(
    checker: Critic, problems: Sequence[Problem], samples: Sequence[Sample]
) -> list[Quality]:
    """Measures the binary critic on samples of problems that it was not trained on."""
    sources = {problem.id: checker.program_model.problem_ids(problem) for problem in problems}
    curves = checker.token_scores([Judged(sources[s.problem], s.ids, _PASSED) for s in samples])
    passed = torch.tensor([s.passed for s in samples])
    share = float(passed.float().mean())
    found = []
    for fraction in FRACTIONS:
        scores = torch.stack([curve[round(fraction * (len(curve) - 1))] for curve in curves])
        accuracy = float(((scores >= 0.5) == passed).float().mean())
        both = 0.0 < share < 1.0
        area = roc_auc(scores[passed].tolist(), scores[~passed].tolist()) if both else None
        found.append(Quality(fraction, accuracy, max(share, 1 - share), area))
    return found
