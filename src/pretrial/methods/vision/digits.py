"""The task that small encoders of images are tried on: handwritten digits with few labels.

All training images are seen without labels; a hundred of them, ten a class, keep their label for
fine-tuning. Any folder of images of one size with labels will do as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pretrial.compare.trial import Data
from pretrial.data.images import pixels, size_of
from pretrial.data.rows import require
from pretrial.data.sources import load
from pretrial.errors import UserError
from pretrial.evaluate.classify import probe

SOURCE = "builtin:digits"


def data(source: str, num_labels: int, num_test: int, field: str = "image") -> Data:
    """Images to train on, of which some keep their label, and images to test on.

    Args:
        source: as `data.sources.load` takes it, with the field and `label`. Rows with a `voice` are
            split by it: voices that are tested on are not trained on.
        num_labels: images that keep their label, in equal shares of the classes.
        num_test: images to test on.
        field: "image" or "audio".

    Raises:
        UserError: there are too few images.
    """
    rows = load(source)
    require(rows, (field, "label"))
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    if "voice" in rows[0]:
        voices = list(dict.fromkeys(rows[i]["voice"] for i in order))
        order.sort(key=lambda i: voices.index(rows[i]["voice"]))
    test, rest = [rows[i] for i in order[:num_test]], [rows[i] for i in order[num_test:]]
    heard = {row["voice"] for row in test if "voice" in row}
    rest = [row for row in rest if row.get("voice") not in heard]
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
            f"{source} has {len(rows)} images of {len(names)} classes, which cannot give"
            f" {num_labels} with labels and {num_test} to test on: lower --num-labels or --num-test"
        )
    name = f"{source}: {len(train)} images, {share * len(names)} with labels"
    return Data(train=train, test=test, name=name)


def accuracies(method: Any, found: Data) -> dict[str, list[float]]:
    """For each test image 1.0 where it was classified rightly.

    Args:
        method: pre-trained, and fine-tuned where it has a `labeller`.
        found: what `data` gave.

    Returns:
        "accuracy" after fine-tuning, and "probe_accuracy" of a linear classifier on the mean of the
        states that pre-training gives, of the labelled images.
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


def pixel_accuracies(found: Data) -> dict[str, list[float]]:
    """The same of a linear classifier on plain pixels, as both metrics."""
    sides = []
    for rows in ([row for row in found.train if "label" in row], found.test):
        height, width, _ = size_of(rows[0]["image"])
        vectors = [pixels(row["image"], 1, (height, width)).flatten() for row in rows]
        sides.append((np.stack(vectors), [str(row["label"]) for row in rows]))
    (known, labels), (asked, wanted) = sides
    names = sorted(set(labels))
    guesses = probe(known, [names.index(label) for label in labels], asked)
    right = [float(names[guess] == label) for guess, label in zip(guesses, wanted, strict=True)]
    return {"accuracy": right, "probe_accuracy": right}
