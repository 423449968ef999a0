"""The task that encoders of text are tried on: which package does a docstring come from?

Pre-training sees all docstrings but those of the test modules, without labels. A classifier is then
fine-tuned on a few hundred labelled ones, and a linear probe is fitted to frozen vectors; both are
measured on modules that neither stage has seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from pretrial.compare.trial import Data
from pretrial.data.rows import require
from pretrial.data.sources import load
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.classify import finetune, probe, split_labelled

_LEAST_GROUPS = 10  # of a class, so that both sides of the split have some of it


def data(source: str) -> Data:
    """Rows with a text and a label, split in the middle by what they belong to.

    Args:
        source: as `data.sources.load` takes it; with fields `text`, `label` and, where texts of one
            origin are alike, `module`. A class takes part if it has ten modules or more and none of
            them holds more than half of its texts.

    Raises:
        UserError: fewer than two classes take part.
    """
    rows = load(source)
    require(rows, ("text", "label"))
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        groups[row["label"]][_group(row)] += 1
    classes = {
        label
        for label, counts in groups.items()
        if len(counts) >= _LEAST_GROUPS and 2 * max(counts.values()) <= counts.total()
    }
    if len(classes) < 2:
        raise UserError(
            f"{source} has {len(classes)} label(s) with texts from {_LEAST_GROUPS} modules or more"
            " and two are needed: give more labelled texts"
        )
    labelled = [row for row in rows if row["label"] in classes]
    halves = split_by_group(labelled, _group, {"learn": 0.5, "test": 0.5})
    unseen = {_group(row) for row in halves["test"]}
    return Data(
        train=[row for row in rows if _group(row) not in unseen],
        test=(list(halves["learn"]), list(halves["test"])),
        name=f"{source}: {len(classes)} classes",
    )


def measure(
    method: Any,
    halves: tuple[Sequence[Any], Sequence[Any]],
    seed: int,
    *,
    num_labels: int,
    epochs: int = 10,
    batch_size: int = 16,
    lr: float = 3e-3,
    lr_decay: float = 0.9,
) -> dict[str, list[float]]:
    """Per test text 1.0 where it was classified rightly.

    Args:
        method: with the abilities `classifier` and `encode`.
        halves: rows to learn from, and to be tested on.
        seed: of the choice of labelled texts and of fine-tuning.
        num_labels: labelled texts to learn from.
        epochs: of fine-tuning.
        batch_size: of fine-tuning.
        lr: peak learning rate of the new head.
        lr_decay: factor on it for each layer further down.

    Returns:
        "accuracy" after fine-tuning, and "probe_accuracy" of frozen vectors.
    """
    learn, _, names = split_labelled(halves[0], num_labels, "text", "label", seed)
    texts = [row["text"] for row in halves[1]]
    places = [names.index(row["label"]) for row in halves[1]]
    vectors = method.encode([text for text, _ in learn] + texts).numpy()
    guesses = {
        "probe_accuracy": probe(
            vectors[: len(learn)], [place for _, place in learn], vectors[len(learn) :]
        )
    }
    classifier = method.classifier(len(names), pooling="mean")
    finetune(
        classifier,
        learn,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        lr_decay=lr_decay,
        seed=seed,
    )
    guesses["accuracy"] = classifier.logits(texts).argmax(-1).numpy()
    return {
        name: [float(guess == place) for guess, place in zip(found, places, strict=True)]
        for name, found in guesses.items()
    }


def _group(row: dict[str, Any]) -> str:
    """What a text belongs to; itself where nothing is said."""
    return str(row.get("module") or row["text"])
