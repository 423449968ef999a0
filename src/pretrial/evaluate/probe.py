"""A linear probe: how well a logistic regression tells labels apart by frozen vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.errors import require_packages
from pretrial.evaluate.labelled import read_labelled, scored, split_labelled
from pretrial.evaluate.result import Result


def measure_probe(
    method: Any,
    data: Sequence[Any],
    *,
    num_train: int = 500,
    text: str = "",
    label: str = "label",
    inverse_penalty: float = 1.0,
    seed: int = 0,
) -> Result:
    """Accuracy of a logistic regression on a model's vectors.

    Args:
        method: with the ability `encode(examples) -> Tensor [N, d]`.
        data: rows, of whatever modality the method reads, with a label; the probe learns from
            `num_train` of them, drawn label by label in their proportions, and is measured on the
            rest. Rows without a label are left out, and counted in the notes.
        num_train: labelled rows to learn from.
        text: name of the field that is read, be it a text or not, where the method would not know
            it; see `examples.examples_of`.
        label: name of the label's field.
        inverse_penalty: the C of scikit-learn's LogisticRegression.
        seed: of the draw and of the bootstrap.

    Raises:
        UserError: a field is missing, there are too few rows, or scikit-learn is not installed.
    """
    require_packages("sklearn")  # before the vectors are made
    pairs = read_labelled(method, data, text, label)
    train, test, names = split_labelled(pairs, num_train, seed)
    vectors = method.encode([each for each, _ in (*train, *test)]).detach().float().cpu().numpy()
    guesses = probe(
        vectors[: len(train)],
        [place for _, place in train],
        vectors[len(train) :],
        inverse_penalty=inverse_penalty,
    )
    return scored(guesses, train, test, names, seed, len(data))


def probe(
    train_vectors: NDArray[Any],
    train_labels: Sequence[int],
    test_vectors: NDArray[Any],
    *,
    inverse_penalty: float = 1.0,
) -> NDArray[np.int64]:
    """Labels [N] that a logistic regression on standardised vectors gives to `test_vectors` [N, d].

    Raises:
        UserError: scikit-learn is not installed.
    """
    require_packages("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    return model.fit(train_vectors, train_labels).predict(test_vectors)
