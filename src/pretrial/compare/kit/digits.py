"""The task that small encoders of patches are tried on: digits, or spoken words, with few labels.

All training examples are seen without labels; some of them, as many of each class, keep their label
for fine-tuning. Any folder of images of one size with labels will do as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.compare.trial import Data
from pretrial.data.media.image import pixels, size_of
from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.errors import UserError
from pretrial.evaluate.classify import probe

SOURCE = "builtin:digits"


def data(source: str, num_labels: int, num_test: int, field: str = "image") -> Data:
    """Examples to train on, of which some keep their label, and others to test on.

    Args:
        source: as `data.reading.sources.load` takes it, with the field and `label`. Rows with
            a `voice` are split by it: voices that are tested on are not trained on.
        num_labels: examples that keep their label, in equal shares of the classes.
        num_test: examples to test on.
        field: "image" or "audio".

    Raises:
        UserError: there are too few.
    """
    rows = load(source)
    require(rows, (field, "label"))
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    asked = order[:num_test]
    if "voice" in rows[0]:
        voices = list(dict.fromkeys(rows[i]["voice"] for i in order))
        asked = sorted(order, key=lambda i: voices.index(rows[i]["voice"]))[:num_test]
    heard = {rows[i].get("voice", i) for i in asked}
    rest = [rows[i] for i in order if rows[i].get("voice", i) not in heard]
    test = [rows[i] for i in asked]
    names = sorted({row["label"] for row in rows}, key=str)
    share = num_labels // len(names)
    counts = dict.fromkeys(names, 0)
    train = []
    for row in rest:
        counts[row["label"]] += 1
        kept = counts[row["label"]] <= share
        train.append(row if kept else {k: v for k, v in row.items() if k != "label"})
    if share < 1 or min(counts.values()) <= share:
        raise UserError(
            f"{source} has {len(rows)} examples of {len(names)} classes, which cannot give"
            f" {num_labels} with labels and {num_test} to test on: lower --num-labels or --num-test"
        )
    kind = "images" if field == "image" else "recordings"
    name = f"{source}: {len(train)} {kind}, {share * len(names)} with labels"
    return Data(train=train, test=test, name=name)


def accuracies(method: Any, found: Data) -> dict[str, list[float]]:
    """For each test example 1.0 where it was classified rightly.

    Args:
        method: pre-trained, and fine-tuned where it has a `labeller`.
        found: what `data` gave.

    Returns:
        "accuracy" after fine-tuning, and "probe_accuracy" of a linear classifier on the mean of the
        states that pre-training gives, of the labelled examples.
    """
    learn = method.labelled(method.read(found.train))
    test = method.read(found.test)
    places = np.array([place for _, place in method.labelled(test)])
    vectors = method.encode([each for each, _ in learn] + test, pretrained=True).numpy()
    targets = [place for _, place in learn]
    guesses = {"probe_accuracy": probe(vectors[: len(learn)], targets, vectors[len(learn) :])}
    if method.labeller is not None:
        guesses["accuracy"] = method.labeller.logits(test).argmax(-1).numpy()
    return {name: (found == places).astype(float).tolist() for name, found in guesses.items()}


def plain_accuracies(
    found: Data, vectors: Callable[[Sequence[Any]], NDArray[Any]]
) -> dict[str, list[float]]:
    """The same of a linear classifier on inputs as they are, as both metrics.

    Args:
        found: what `data` gave.
        vectors: of rows [N, d].
    """
    learn = [row for row in found.train if "label" in row]
    names = sorted({str(row["label"]) for row in learn})
    targets = [names.index(str(row["label"])) for row in learn]
    guesses = probe(vectors(learn), targets, vectors(found.test))
    pairs = zip(guesses, found.test, strict=True)
    right = [float(names[guess] == str(row["label"])) for guess, row in pairs]
    return {"accuracy": right, "probe_accuracy": right}


def pixel_vectors(rows: Sequence[Any]) -> NDArray[Any]:
    """The grey values of images, as large as the first is [N, d]."""
    height, width, _ = size_of(rows[0]["image"])
    return np.stack([pixels(row["image"], 1, (height, width)).flatten() for row in rows])
