"""The task that small encoders of patches are tried on: digits, or spoken words, with few labels.

All training examples are seen without labels; some of them, as many of each class, keep their label
for fine-tuning. Any folder of images of one size with labels will do as well.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.compare.trial import Data, Items
from pretrial.data.labels import labelled
from pretrial.data.media.image import pixels, size_of
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, require
from pretrial.errors import UserError
from pretrial.evaluate.probe import probe, probe_log_probs
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage

DIGITS = "builtin:digits"
#: What the digits and the measures import beyond the base install.
NEEDED = ("sklearn",)

_COUNTED = 512  # numbers that tokens are counted under

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
            a `voice` are split by it: voices that are tested on are not trained on; so are copies,
            which name their `original`. Those without a label are left out.
        num_labels: examples that keep their label, in equal shares of the classes; copies of one
            keep it together.
        num_test: examples to test on, of copies one each.
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
    groups: dict[Any, list[int]] = {}
    for i in order:
        groups.setdefault(_group(rows[i], i), []).append(i)
    copied = "original" in rows[0]
    tested = [i for group in groups.values() for i in (group[:1] if copied else group)][:num_test]
    known = {_group(rows[i], i) for i in tested}
    rest = [rows[i] for i in order if _group(rows[i], i) not in known]
    target = rest[: num_train or len(rest)]
    held_out = rest[len(target) : len(target) + num_held_out]
    names = sorted({row["label"] for row in rows}, key=str)
    share = num_labels // len(names)
    train = keep_labels(target, share)
    kept = len({row.get("original", i) for i, row in enumerate(train) if "label" in row})
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


def _group(row: Row, place: int) -> Any:
    """What is on one side of the split: the recordings of a voice, the copies of an image."""
    return row.get("voice", row.get("original", place))


def keep_labels(rows: Sequence[Row], share: int) -> list[Row]:
    """The rows without their label, but for the first `share` of each class, with all copies."""
    known: dict[Any, set[Any]] = {}
    found = []
    for place, row in enumerate(rows):
        own, original = known.setdefault(row["label"], set()), row.get("original", place)
        if len(own) < share:
            own.add(original)
        kept = original in own
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


def scores(method: Any, found: Data) -> dict[str, list[float] | Items]:
    """What a classifier says of each test example.

    Args:
        method: pre-trained, and fine-tuned where it has a `trained_classifier`.
        found: what `split` gave.

    Returns:
        "nll" of the right class and "accuracy", 1.0 where it is the likeliest; "probe_nll" and
        "probe_accuracy" are those of a linear classifier on the mean of the states that
        pre-training gives, of the labelled examples. Without a fine-tuned classifier they are the
        same.
    """
    learn = method.labelled(method.read(found.train))
    test = method.read(found.test)
    places = [place for _, place in method.labelled(test)]
    vectors = method.encode([each for each, _ in learn] + test, pretrained=True).numpy()
    targets = [place for _, place in learn]
    known, asked = vectors[: len(learn)], vectors[len(learn) :]
    probed = probe_log_probs(known, targets, asked, len(method.classes))
    main = probed
    if method.trained_classifier is not None:
        main = method.trained_classifier.logits(test).float().log_softmax(-1).numpy()
    return {
        **scored(main, places, found.test),
        **{f"probe_{name}": each for name, each in scored(probed, places, found.test).items()},
    }


def plain_scores(found: Data, vectors: Vectors) -> dict[str, list[float] | Items]:
    """The same of a linear classifier on inputs as they are, as both.

    Args:
        found: what `split` gave.
        vectors: of rows [N, d].
    """
    learn, names = _learnt(found)
    targets, places = _places(learn, names), _places(found.test, names)
    said = probe_log_probs(vectors(learn), targets, vectors(found.test), len(names))
    own = scored(said, places, found.test)
    return {**own, **{f"probe_{name}": each for name, each in own.items()}}


def plain_accuracies(found: Data, vectors: Vectors) -> dict[str, list[float]]:
    """For each test example 1.0 where a linear classifier of fixed penalty is right."""
    learn, names = _learnt(found)
    guesses = probe(vectors(learn), _places(learn, names), vectors(found.test))
    right = (guesses == _places(found.test, names)).astype(float).tolist()
    return {"accuracy": right, "probe_accuracy": right}


def _learnt(found: Data) -> tuple[list[Row], list[str]]:
    """The rows with labels, and the names of these."""
    learn = [row for row in found.train if "label" in row]
    return learn, sorted({str(row["label"]) for row in learn})


def _places(rows: Sequence[Row], names: Sequence[str]) -> list[int]:
    return [names.index(str(row["label"])) for row in rows]


def scored(
    log_probs: NDArray[Any], places: Sequence[int], rows: Sequence[Row]
) -> dict[str, list[float] | Items]:
    """For each row "nll" of its class and "accuracy", 1.0 where that is the likeliest.

    Args:
        log_probs: of the classes [N, C].
        places: the class of each.
        rows: those of one voice, and copies of one image, are a group.
    """
    values = {
        "nll": (-log_probs[np.arange(len(places)), places]).astype(float).tolist(),
        "accuracy": (log_probs.argmax(-1) == places).astype(float).tolist(),
    }
    groups = [_group(row, place) for place, row in enumerate(rows)]
    if len(set(groups)) == len(groups):
        return dict(values)
    return {name: Items(each, groups) for name, each in values.items()}


def pixel_vectors(rows: Sequence[Any]) -> NDArray[Any]:
    """The grey values of images, as large as the first is [N, d]."""
    height, width, _ = size_of(rows[0]["image"])
    return np.stack([pixels(row["image"], 1, (height, width)).flatten() for row in rows])


def sequence_vectors(rows: Sequence[Row]) -> NDArray[Any]:
    """Of sequences what a linear classifier can read [N, d], whatever their lengths.

    Args:
        rows: with `image`, whose grey values are taken; `signal`, of which 64 points are; or
            `tokens` or `text`, whose tokens or bytes are counted, some under one number.
    """
    if "image" in rows[0]:
        return pixel_vectors(rows)
    if "signal" in rows[0]:
        signals = [np.asarray(row["signal"], dtype=float) for row in rows]
        places = np.linspace(0, 1, 64)
        return np.stack([np.interp(places, np.linspace(0, 1, len(s)), s) for s in signals])
    return np.stack([np.bincount(_numbers(row), minlength=_COUNTED) for row in rows])


def _numbers(row: Row) -> list[int]:
    """The tokens of a row, or the bytes of its text, as numbers below `_COUNTED`."""
    if "tokens" not in row:
        return list(row["text"].encode())
    tokens = row["tokens"].split() if isinstance(row["tokens"], str) else row["tokens"]
    return [zlib.crc32(str(token).encode()) % _COUNTED for token in tokens]
