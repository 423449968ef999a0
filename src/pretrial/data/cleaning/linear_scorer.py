"""A linear model on counts of short runs of bytes: is a text like these, or like those?

It serves as the filter of quality (reference texts against the corpus) and of safety (texts that
must not pass against others).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.byte_grams import byte_grams
from pretrial.errors import UserError

Floats = NDArray[np.floating[Any]]

_WIDTH = 4096
_WINDOW = 4000  # characters of a text that are looked at


class LinearScorer:
    """Logistic regression, fitted by gradient descent with momentum on all texts at once.

    Args:
        positive: texts that are to score near 1.
        negative: texts that are to score near 0; each class weighs the same.
        steps: of the descent.
        lr: of the descent.
        decay: of the weights, a step.

    Raises:
        UserError: a class is empty.
    """

    def __init__(
        self,
        positive: Sequence[str],
        negative: Sequence[str],
        steps: int = 200,
        lr: float = 8.0,
        decay: float = 1e-4,
    ) -> None:
        if not positive or not negative:
            raise UserError("a classifier of texts needs some of both kinds")
        vectors = _vectors([*positive, *negative])
        counts = np.array([len(positive), len(negative)])
        targets = np.repeat(np.array([1, 0], dtype=np.float32), counts)
        weights = np.repeat((0.5 / counts).astype(np.float32), counts)
        # the bias is the weight of a place that is always 1
        vectors = np.concatenate([vectors, np.ones((len(vectors), 1), dtype=np.float32)], axis=1)
        self._weight: Floats = np.zeros(_WIDTH + 1, dtype=np.float32)
        speed = np.zeros_like(self._weight)
        for _ in range(steps):
            errors = weights * (_sigmoid(vectors @ self._weight) - targets)
            speed = 0.9 * speed - lr * (errors @ vectors + decay * self._weight)
            self._weight = self._weight + speed

    def score(self, texts: Sequence[str]) -> list[float]:
        """How like the positive ones each text is, 0 to 1."""
        if not texts:
            return []
        return _sigmoid(_vectors(texts) @ self._weight[:-1] + self._weight[-1]).tolist()


def _vectors(texts: Sequence[str]) -> Floats:
    return byte_grams([text[:_WINDOW] for text in texts], _WIDTH)


def _sigmoid(values: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * values))
