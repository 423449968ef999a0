"""The task that encoders of text are tried on: which package does a docstring come from?

Pre-training sees all docstrings but those of the test modules, without labels. A classifier is then
fine-tuned on a few hundred labelled ones, and a linear probe is fitted to frozen vectors; both are
measured on modules that neither stage has seen. Any rows with a text and a label will do as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from pretrial.compare.trial import Data
from pretrial.data.rows import require
from pretrial.data.sources import load
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.classify import finetune, probe, split_labelled

Task = Literal["classify", "probe"]

#: The metric that counts in each task.
METRICS: dict[Task, str] = {"classify": "accuracy", "probe": "probe_accuracy"}

#: Notes for the trial's record: how fine-tuning was settled, and on which texts.
RECIPE = (
    "Fine-tuning is alike for all arms: mean pooling, 10 epochs, batch 16, learning rate 3e-3 with"
    " a decay of 0.9 a layer. It is the better of two settings that were tried on random weights,"
    " with the built-in docstrings."
)
PILOT = (
    "The two settings were scored on a third of the texts of those modules that labels are learnt"
    " from here, so no test text was scored to choose one; the labelled texts of that pilot were"
    " of the test modules."
)

_LEAST_GROUPS = 10  # of a class, so that both sides of the split have some of it


def data(source: str, num_labels: int) -> Data:
    """Rows with a text and a label, split in the middle by what they belong to.

    The halves are named so that the one whose texts served to choose the settings of fine-tuning is
    learnt from, and not tested on.

    Args:
        source: as `data.sources.load` takes it; with fields `text`, `label` and, where texts of one
            origin are alike, `module`. A class takes part if it has ten modules or more and none of
            them holds more than half of its texts.
        num_labels: labelled texts that will be learnt from.

    Raises:
        UserError: fewer than two classes take part, or there are too few texts to learn from.
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
    halves = split_by_group(labelled, _group, {"test": 0.5, "learn": 0.5})
    unseen = {_group(row) for row in halves["test"]}
    learn = halves["learn"]
    known = {row["label"] for row in learn}
    if not len(known) <= num_labels < len(learn):
        raise UserError(
            f"{source} leaves {len(learn)} texts of {len(known)} classes to learn from, which"
            f" cannot give {num_labels}: set --num-labels in between"
        )
    return Data(
        train=[row for row in rows if _group(row) not in unseen],
        test=(list(learn), [row for row in halves["test"] if row["label"] in known]),
        name=f"{source}: {len(known)} classes",
    )


def measure(
    method: Any,
    halves: tuple[Sequence[Any], Sequence[Any]],
    seed: int,
    *,
    num_labels: int,
    task: Task = "classify",
    epochs: int = 10,
    batch_size: int = 16,
    lr: float = 3e-3,
    lr_decay: float = 0.9,
) -> dict[str, float | list[float]]:
    """Per test text 1.0 where it was classified rightly, and whether one class is all it guesses.

    Args:
        method: with the abilities `classifier` and `encode`.
        halves: rows to learn from, and to be tested on.
        seed: of the choice of labelled texts and of fine-tuning.
        num_labels: labelled texts to learn from.
        task: "probe" leaves fine-tuning out.
        epochs: of fine-tuning.
        batch_size: of fine-tuning.
        lr: peak learning rate of the new head.
        lr_decay: factor on it for each layer further down.

    Returns:
        "accuracy" after fine-tuning, "probe_accuracy" of frozen vectors, and "top_guess_ratio", the
        share of test texts given the class that the task's classifier gives most often: 1.0 is a
        classifier that has collapsed.
    """
    learn, _, names = split_labelled(halves[0], num_labels, "text", "label", seed)
    texts = [row["text"] for row in halves[1]]
    places = [names.index(row["label"]) for row in halves[1]]
    vectors = method.encode([text for text, _ in learn] + texts).numpy()
    targets = [place for _, place in learn]
    guesses = {"probe_accuracy": probe(vectors[: len(learn)], targets, vectors[len(learn) :])}
    if task == "classify":
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
        guesses["accuracy"] = classifier.logits(texts).argmax(-1).cpu().numpy()
    most = Counter(guesses[METRICS[task]].tolist()).most_common(1)[0][1]
    right = {
        name: [float(guess == place) for guess, place in zip(found, places, strict=True)]
        for name, found in guesses.items()
    }
    return {**right, "top_guess_ratio": most / len(texts)}


def _group(row: dict[str, Any]) -> str:
    """What a text belongs to; itself where nothing is said."""
    return str(row.get("module") or row["text"])
