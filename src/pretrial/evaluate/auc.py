"""How well a score parts two classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrial.errors import UserError


def roc_auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    Args:
        positive: scores of the positive class.
        negative: scores of the other one.

    Raises:
        UserError: a class is empty.
    """
    if not len(positive) or not len(negative):
        raise UserError("the area under the ROC curve needs scores of both classes")
    good, bad = np.asarray(positive, dtype=float), np.sort(np.asarray(negative, dtype=float))
    below = np.searchsorted(bad, good, side="left")
    level = np.searchsorted(bad, good, side="right") - below
    return float((below + level / 2).mean() / len(bad))
