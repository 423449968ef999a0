"""The task that encoders of text are tried on: which package does a docstring come from?

Pre-training sees all docstrings but those of the test modules, without labels. A classifier is then
fine-tuned on a few hundred labelled ones, and a linear probe is fitted to frozen vectors; both are
measured on modules that neither stage has seen. Any rows with a text and a label will do as well.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from pretrial.compare.trial import Data, Items, Values
from pretrial.data.labels import labelled
from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.evaluate.finetune import best_rate, finetune
from pretrial.evaluate.floors import TfIdf
from pretrial.evaluate.labelled import split_labelled
from pretrial.evaluate.probe import probe, probe_log_probs

Task = Literal["classify", "probe"]

#: The metric that counts in each task.
METRICS: dict[Task, str] = {"classify": "accuracy", "probe": "probe_nll"}

#: What the measures import beyond the base install.
NEEDED = ("sklearn",)

#: Notes for the trial's record: how fine-tuning was settled, and on which texts.
RECIPE = (
    "Fine-tuning: mean pooling, 10 epochs, batch 16, a decay of the learning rate of 0.9 a layer."
    " Every arm with every seed chooses its learning rate among 3e-4, 1e-3 and 3e-3, on a quarter"
    " of the labelled texts that is then learnt from too."
)
PILOT = (
    "The number of epochs, the batch and the decay are the better of two settings that were tried"
    " on random weights, with texts of those modules that labels are learnt from here."
)

#: Learning rates that fine-tuning chooses from.
RATES = (3e-4, 1e-3, 3e-3)

_WORD = re.compile(r"\s*\S+|\s+$")
_KINDS = {
    "code": re.compile(r"\w[_.(\[=]\w|_|\w\(|[a-z][A-Z]"),
    "number": re.compile(r"\d"),
    "name": re.compile(r"^\s*\W*[A-Z]"),
    "word": re.compile(r"[^\W\d_]"),
    "mark": re.compile(""),
}
_PROBED_TOKENS = 3000

_LEAST_GROUPS = 10  # of a class, so that both sides of the split have some of it


def data(source: str, num_labels: int) -> Data:
    """Rows with a text and a label, split in the middle by what they belong to.

    The halves are named so that the one whose texts served to choose the settings of fine-tuning is
    learnt from, and not tested on.

    Args:
        source: as `data.reading.sources.load` takes it; with fields `text`, `label` and, where
            texts of one origin are alike, `module`. A class takes part if it has ten modules or
            more and none of them holds more than half of its texts.
        num_labels: labelled texts that will be learnt from.

    Raises:
        UserError: fewer than two classes take part, or there are too few texts to learn from.
    """
    rows = load(source)
    require(rows, ("text",))
    known_rows, labels = labelled(rows)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for row, label in zip(known_rows, labels, strict=True):
        groups[label][group_of(row)] += 1
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
    chosen = [row for row in known_rows if row["label"] in classes]
    halves = split_by_group(chosen, group_of, {"test": 0.5, "learn": 0.5})
    unseen = {group_of(row) for row in halves["test"]}
    learn = halves["learn"]
    known = {row["label"] for row in learn}
    if not len(known) <= num_labels < len(learn):
        raise UserError(
            f"{source} leaves {len(learn)} texts of {len(known)} classes to learn from, which"
            f" cannot give {num_labels}: set --num-labels in between"
        )
    return Data(
        train=[row for row in rows if group_of(row) not in unseen],
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
    rates: Sequence[float] = RATES,
    lr_decay: float = 0.9,
) -> Values:
    """Per test text 1.0 where it was classified rightly, and whether one class is all it guesses.

    Args:
        method: with the abilities `classifier` and `encode`; or `evaluate.floors.TfIdf`.
        halves: rows to learn from, and to be tested on.
        seed: of the choice of labelled texts and of fine-tuning.
        num_labels: labelled texts to learn from.
        task: "probe" leaves fine-tuning out.
        epochs: of fine-tuning.
        batch_size: of fine-tuning.
        rates: peak learning rates of the new head to choose from, on held-out labelled texts.
        lr_decay: factor on it for each layer further down.

    Returns:
        "accuracy" after fine-tuning, "probe_nll" and "probe_accuracy" of frozen vectors, in nats
        and in right ones, and "top_guess_ratio", the share of test texts given the class that the
        task's classifier gives most often: 1.0 is a classifier that has collapsed. Texts of a
        module are a group. "finetuning_lr" is the learning rate that was chosen.
        "token_kind_accuracy", of methods with `token_vectors`, is that of a linear probe of single
        tokens, which names the kind of the word that a token stands in (see `token_kind`).
    """
    pairs = [(row, row["label"]) for row in halves[0]]
    known, _, names = split_labelled(pairs, num_labels, seed)
    sides = [row for row, _ in known], halves[1]
    (learn, test), targets = (examples_of(method, rows) for rows in sides), [i for _, i in known]
    places = [names.index(row["label"]) for row in halves[1]]
    trivial = isinstance(method, TfIdf)
    vectors = method.encode([*learn, *test])
    vectors = vectors if trivial else vectors.numpy()
    log_probs = probe_log_probs(
        vectors[: len(learn)], targets, vectors[len(learn) :], len(names), scaled=not trivial
    )
    guesses = {"probe_accuracy": log_probs.argmax(1)}
    chosen: dict[str, float] = {}
    if trivial:
        guesses["accuracy"] = guesses["probe_accuracy"]
    elif hasattr(method, "token_vectors"):
        chosen["token_kind_accuracy"] = _token_kinds(
            method, *([row["text"] for row in rows] for rows in sides)
        )
    if task == "classify" and not trivial:

        def make() -> Any:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                return method.classifier(len(names), pooling="mean")

        how: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "lr_decay": lr_decay,
            "seed": seed,
        }
        pairs = list(zip(learn, targets, strict=True))
        rate = best_rate(make, pairs, rates, **how) if len(rates) > 1 else rates[0]
        chosen["finetuning_lr"] = rate
        classifier = make()
        finetune(classifier, pairs, lr=rate, **how)
        guesses["accuracy"] = classifier.logits(test).argmax(-1).cpu().numpy()
    own = guesses["accuracy" if task == "classify" else "probe_accuracy"]
    most = Counter(own.tolist()).most_common(1)[0][1]
    values = {name: (found == np.array(places)).astype(float) for name, found in guesses.items()}
    values["probe_nll"] = -log_probs[np.arange(len(places)), places]
    groups = [group_of(row) for row in halves[1]]
    items = {name: Items(found.tolist(), groups) for name, found in values.items()}
    return {**items, "top_guess_ratio": most / len(test), **chosen}


def group_of(row: dict[str, Any]) -> str:
    """What a text belongs to; itself where nothing is said."""
    return str(row.get("module") or row["text"])


def token_kind(text: str, start: int, end: int) -> str:
    """Kind of the word that text[start:end] begins in: code, number, name, word or mark."""
    start += len(text[start:end]) - len(text[start:end].lstrip())
    word = next(m.group() for m in _WORD.finditer(text) if m.end() > min(start, end - 1))
    return next(kind for kind, pattern in _KINDS.items() if pattern.search(word))


def _token_kinds(method: Any, learn: Sequence[str], test: Sequence[str]) -> float:
    """Accuracy of a linear probe of token vectors, on the first tokens of each side."""
    sides = []
    for texts in (learn, test):
        vectors, kinds = [], []
        for text, (states, spans) in zip(texts, method.token_vectors(texts), strict=True):
            vectors.append(states)
            kinds += [token_kind(text, *span) for span in spans]
        sides.append((torch.cat(vectors)[:_PROBED_TOKENS].numpy(), kinds[:_PROBED_TOKENS]))
    names = list(_KINDS)
    (known, kinds), (asked, wanted) = sides
    guesses = probe(known, [names.index(kind) for kind in kinds], asked)
    return float(
        np.mean([names[guess] == kind for guess, kind in zip(guesses, wanted, strict=True)])
    )
