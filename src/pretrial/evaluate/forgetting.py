"""What a model keeps while it learns one domain after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pretrial.errors import UserError


@dataclass(frozen=True)
class Forgetting:
    """Summary of an accuracy matrix.

    Attributes:
        final: mean score over all domains after the last one (average accuracy).
        incremental: mean, over the domains in order, of the mean score on the domains seen so far.
        forgetting: mean over all domains but the last of the best score before the end minus the
            score at the end (Chaudhry et al. 2018, arXiv 1801.10112, section 4); negative where
            domains went on gaining.
        backward_transfer: mean over all domains but the last of the score at the end minus the
            score just after the domain was learnt (Lopez-Paz and Ranzato 2017, arXiv 1706.08840,
            section 2); negative where domains were forgotten.
        by_domain: forgetting of each domain but the last.
    """

    final: float
    incremental: float
    forgetting: float
    backward_transfer: float
    by_domain: tuple[float, ...]


def summarise(matrix: ArrayLike) -> Forgetting:
    """Reads A[i, j], the score on domain j after learning domain i; higher is better.

    With one domain there is nothing to forget, and what is a mean over no domain is 0.

    Raises:
        UserError: the matrix is not square, is empty, or has missing scores.
    """
    scores = np.asarray(matrix, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or scores.size == 0:
        raise UserError(f"the matrix needs a row and a column a domain, not shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise UserError("the matrix has missing scores; measure every domain after every stage")
    last, earlier = scores[-1], scores[:-1]
    seen = [row[: place + 1].mean() for place, row in enumerate(scores)]
    if len(scores) == 1:
        return Forgetting(float(last.mean()), float(last.mean()), 0.0, 0.0, ())
    lost = earlier.max(axis=0)[:-1] - last[:-1]
    return Forgetting(
        final=float(last.mean()),
        incremental=float(np.mean(seen)),
        forgetting=float(lost.mean()),
        backward_transfer=float((last - np.diag(scores))[:-1].mean()),
        by_domain=tuple(lost.tolist()),
    )
