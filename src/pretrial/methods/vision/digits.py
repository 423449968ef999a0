"""The task that small encoders of images are tried on: handwritten digits with few labels.

All training images are seen without labels; a hundred of them, ten a class, keep their label for
fine-tuning. Any folder of images of one size with labels will do as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pretrial.compare.trial import Data
from pretrial.data.rows import require
from pretrial.data.sources import load
from pretrial.errors import UserError

SOURCE = "builtin:digits"


def data(source: str, num_labels: int, num_test: int) -> Data:
    """Images to train on, of which some keep their label, and images to test on.

    Args:
        source: as `data.sources.load` takes it, with fields `image` and `label`.
        num_labels: images that keep their label, in equal shares of the classes.
        num_test: images to test on.

    Raises:
        UserError: there are too few images.
    """
    rows = load(source)
    require(rows, ("image", "label"))
    order = np.random.default_rng(0).permutation(len(rows))
    test, rest = [rows[i] for i in order[:num_test]], [rows[i] for i in order[num_test:]]
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


def right(labeller: Any, classes: Sequence[Any], examples: Sequence[Any]) -> list[float]:
    """1.0 for each example that is classified rightly, else 0.0."""
    guesses = labeller.logits(examples).argmax(-1).tolist()
    return [
        float(classes[guess] == each.label) for guess, each in zip(guesses, examples, strict=True)
    ]
