"""What anybody has without pre-training: the most frequent answer, and a linear model on counts.

A classifier that does not beat them is not worth having. The linear model reads TF-IDF of texts,
raw pixels of images, and levels of the bands of recordings; its penalty is chosen on a third of the
rows that it learns from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.data.labels import labelled
from pretrial.data.media.audio import log_mel, samples
from pretrial.data.media.image import size_of, stack
from pretrial.data.origins import Kind
from pretrial.errors import require_packages
from pretrial.evaluate.intervals import Interval, bootstrap_mean
from pretrial.evaluate.probe import probe_log_probs

#: The linear model by what it reads.
NAMES: dict[Kind, str] = {
    "text": "TF-IDF, logistic regression",
    "image": "raw pixels, logistic regression",
    "audio": "levels of bands, logistic regression",
}
_MOST_PIXELS = 16  # height and width of what a linear model reads of an image
_RATE = 16_000
_NUM_MELS, _NUM_PARTS = 32, 8  # bands, and stretches of a recording


class TfIdf:
    """Shares of words, weighted by how rare they are; measured like an encoder.

    Args:
        texts: to count in.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        require_packages("sklearn")
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer().fit(texts)

    def encode(self, texts: Sequence[str]) -> Any:
        """Vectors of the texts, a sparse matrix [N, words]."""
        return self._words.transform(texts)


@dataclass(frozen=True)
class Floor:
    """What one trivial classifier says of rows.

    Attributes:
        name: such as "the majority".
        log_probs: logarithms of the probabilities of the classes [N, C].
        classes: the right ones [N].
    """

    name: str
    log_probs: NDArray[np.float64]
    classes: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.float64]:
        """1.0 where the likeliest class is the right one [N]."""
        return (self.log_probs.argmax(-1) == self.classes).astype(float)

    @property
    def nll(self) -> NDArray[np.float64]:
        """-log p of the right class, in nats [N]."""
        return -self.log_probs[np.arange(len(self.classes)), self.classes]

    @property
    def accuracy(self) -> Interval:
        """The share of right answers."""
        return bootstrap_mean(self.right.tolist())

    @property
    def log_loss(self) -> Interval:
        """The mean of `nll`."""
        return bootstrap_mean(self.nll.tolist())


def floor_of(
    train_rows: Sequence[Any],
    test_rows: Sequence[Any],
    kind: Kind,
    *,
    field: str = "",
    label: str = "label",
) -> tuple[Floor, Floor]:
    """The majority, and a linear model on what everybody can count.

    Args:
        train_rows: learnt from; those without a label are left out.
        test_rows: measured on; likewise.
        kind: what the rows hold.
        field: where they hold it; "" is called as the kind.
        label: where they hold the label.

    Raises:
        UserError: no row has a label, one cannot be read, or scikit-learn is not installed.
    """
    train, known = labelled(train_rows, label)
    test, asked = labelled(test_rows, label)
    place = {name: i for i, name in enumerate(dict.fromkeys(map(str, [*known, *asked])))}
    targets = np.array([place[str(each)] for each in known])
    classes = np.array([place[str(each)] for each in asked])
    # Laplace: one more of each, so that a class which nobody has seen is not impossible
    counts = np.bincount(targets, minlength=len(place)) + 1.0
    shares = np.log(counts / counts.sum())
    majority = Floor("the majority", np.tile(shares, (len(test), 1)), classes)
    vectors = plain_vectors(train, test, kind, field or kind)
    linear = majority.log_probs
    if len(set(targets.tolist())) > 1:
        scaled = kind != "text"
        linear = probe_log_probs(
            vectors[0], targets.tolist(), vectors[1], len(place), scaled=scaled
        )
    return majority, Floor(NAMES[kind], linear, classes)


def plain_vectors(
    train_rows: Sequence[Any], test_rows: Sequence[Any], kind: Kind, field: str = ""
) -> tuple[Any, Any]:
    """What a linear model reads of both [M, d] and [N, d]; of texts sparse matrices.

    Args:
        train_rows: decide which words and what size of images there are.
        test_rows: read in the same way.
        kind: what the rows hold.
        field: where they hold it; "" is called as the kind.
    """
    parts = [[row[field or kind] for row in rows] for rows in (train_rows, test_rows)]
    if kind == "text":
        words = TfIdf(parts[0])
        return words.encode(parts[0]), words.encode(parts[1])
    if kind == "audio":
        return _levels(parts[0]), _levels(parts[1])
    height, width, channels = size_of(parts[0][0])
    size = min(height, _MOST_PIXELS), min(width, _MOST_PIXELS)
    train, test = (stack(part, channels, size, resize=True).flatten(1).numpy() for part in parts)
    return train, test


def _levels(recordings: Sequence[Any]) -> NDArray[np.float32]:
    """Of each recording the mean level of each band in each eighth of it, and its deviation."""
    rows = []
    for recording in recordings:
        values = samples(recording, _RATE).numpy()
        least = _RATE // 10  # a tenth of a second, repeated where there is less
        values = np.resize(values, max(len(values), least))
        bands = log_mel(torch.from_numpy(values), _RATE, num_mels=_NUM_MELS).numpy()
        parts = [part.mean(1) for part in np.array_split(bands, _NUM_PARTS, axis=1)]
        rows.append(np.concatenate([*parts, bands.std(1)]))
    return np.stack(rows)
