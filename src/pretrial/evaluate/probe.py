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


#: What `probe_log_probs` chooses the C of its logistic regression from.
_INVERSE_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_LEAST_PROBABILITY = 1e-6  # of classes that were not among the texts to learn from


def probe_log_probs(
    train_vectors: Any,
    train_labels: Sequence[int],
    test_vectors: Any,
    num_classes: int,
    *,
    scaled: bool = True,
) -> NDArray[np.float64]:
    """Logarithms of the probabilities [N, C] that a logistic regression gives to classes.

    Its penalty is the one with the least loss on a third of the training vectors, which are then
    learnt from too: few labels and little penalty make a probe far too sure.

    Args:
        train_vectors: [M, d], or a sparse matrix.
        train_labels: classes, in no particular order.
        test_vectors: [N, d].
        num_classes: that there are.
        scaled: standardise the vectors, which sparse ones cannot be.

    Raises:
        UserError: scikit-learn is not installed.
    """
    require_packages("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    labels = np.asarray(train_labels)
    order = np.random.default_rng(0).permutation(len(labels))
    aside, rest = np.split(order, [len(labels) // 3])

    def log_probs(penalty: float, known: NDArray[Any], vectors: Any) -> NDArray[np.float64]:
        scaler = StandardScaler() if scaled else FunctionTransformer()
        model = make_pipeline(scaler, LogisticRegression(C=penalty, max_iter=2000))
        model.fit(train_vectors[known], labels[known])
        found = np.full((vectors.shape[0], num_classes), np.log(_LEAST_PROBABILITY))
        least = np.log(np.finfo(np.float64).tiny)  # of what is so far off that it underflows
        found[:, model.classes_] = np.maximum(model.predict_log_proba(vectors), least)
        return found

    def loss(penalty: float) -> float:
        found = log_probs(penalty, rest, train_vectors[aside])
        return float(-found[np.arange(len(aside)), labels[aside]].mean())

    best = min(_INVERSE_PENALTIES, key=loss) if len(set(labels[rest].tolist())) > 1 else 1.0
    return log_probs(best, order, test_vectors)
