"""The task that small encoders of patches are tried on: digits, or spoken words, with few labels.

All training examples are seen without labels; some of them, as many of each class, keep their label
for fine-tuning. Any folder of images of one size with labels will do as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.compare.trial import Data
from pretrial.data.labels import labelled
from pretrial.data.media.image import pixels, size_of
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, require
from pretrial.errors import UserError
from pretrial.evaluate.probe import probe
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage

DIGITS = "builtin:digits"
#: What the digits and the measures import beyond the base install.
NEEDED = ("sklearn",)

#: What makes vectors [N, d] of rows.
Vectors = Callable[[Sequence[Any]], NDArray[Any]]


def split(
    source: str,
    num_labels: int,
    num_test: int,
    *,
    field: str = "image",
    num_train: int = 0,
    num_held_out: int = 0,
) -> Data:
    """Examples to train on, of which some keep their label, others to test on, and some held out.

    Args:
        source: as `data.reading.sources.load` takes it, with the field and `label`. Rows with
            a `voice` are split by it: voices that are tested on are not trained on. Those without
            a label are left out.
        num_labels: examples that keep their label, in equal shares of the classes.
        num_test: examples to test on.
        field: "image" or "audio".
        num_train: examples to train on; 0 is all that are not tested on.
        num_held_out: others at most, which are neither trained nor tested on.

    Raises:
        UserError: there are too few.
    """
    found = load(source)
    require(found, (field,))
    rows, _ = labelled(found)
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    tested = order[:num_test]
    if "voice" in rows[0]:
        voices = list(dict.fromkeys(rows[i]["voice"] for i in order))
        tested = sorted(order, key=lambda i: voices.index(rows[i]["voice"]))[:num_test]
    known = {rows[i].get("voice", i) for i in tested}
    rest = [rows[i] for i in order if rows[i].get("voice", i) not in known]
    target = rest[: num_train or len(rest)]
    held_out = rest[len(target) : len(target) + num_held_out]
    names = sorted({row["label"] for row in rows}, key=str)
    share = num_labels // len(names)
    train = keep_labels(target, share)
    kept = sum("label" in row for row in train)
    if share < 1 or kept < share * len(names) or (num_held_out and not held_out):
        raise UserError(
            f"{source} has {len(rows)} examples of {len(names)} classes, which cannot give"
            f" {num_labels} with labels and {num_test} to test on: lower --num-labels or --num-test"
        )
    kind = "images" if field == "image" else "recordings"
    name = f"{source}: {len(train)} {kind}, {kept} with labels"
    if len(rows) < len(found):
        name += f"; {len(found) - len(rows)} without a label left out"
    return Data(train=train, held_out=held_out, test=[rows[i] for i in tested], name=name)


def keep_labels(rows: Sequence[Row], share: int) -> list[Row]:
    """The rows without their label, but for the first `share` of each class."""
    counts: dict[Any, int] = {}
    found = []
    for row in rows:
        counts[row["label"]] = counts.get(row["label"], 0) + 1
        kept = counts[row["label"]] <= share
        found.append(row if kept else {k: v for k, v in row.items() if k != "label"})
    return found


def train_stage(
    make: Callable[[Run, Budget], Stage], examples: Sequence[Any], steps: float, seed: int
) -> None:
    """Trains one stage by itself, such as that of fine-tuning, in a folder that goes afterwards.

    Args:
        make: gives the stage, of a run and its budget.
        examples: of the run.
        steps: of its budget.
        seed: of the run.
    """

    class Alone(Method):
        """One stage."""

        def stages(self, run: Run) -> Iterator[Stage]:
            yield make(run, run.budget)

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, examples, budget=Budget(steps, "steps"), seed=seed, quiet=True)
        with closing(run):
            train(Alone(None), run)


def accuracies(method: Any, found: Data) -> dict[str, list[float]]:
    """For each test example 1.0 where it was classified rightly.

    Args:
        method: pre-trained, and fine-tuned where it has a `trained_classifier`.
        found: what `split` gave.

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
    if method.trained_classifier is not None:
        guesses["accuracy"] = method.trained_classifier.logits(test).argmax(-1).numpy()
    return {name: (found == places).astype(float).tolist() for name, found in guesses.items()}


def plain_accuracies(found: Data, vectors: Vectors) -> dict[str, list[float]]:
    """The same of a linear classifier on inputs as they are, as both metrics.

    Args:
        found: what `split` gave.
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
