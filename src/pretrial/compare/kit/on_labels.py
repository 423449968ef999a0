"""Methods side by side on the labels of the user's data: accuracy, beside what needs no training.

Every arm is trained without labels on the rows that are not tested on; then a classifier learns
from the labelled ones among them, by fine-tuning or as a linear probe of frozen vectors. Equal rows
are on one side of the split, and so are those of one `module` or `voice`. The floor learns from the
same labels: the most frequent one, a linear model on words, pixels or bands, and the first method
with random weights.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from pretrial.compare.kit.few_labels import scored
from pretrial.compare.trial import Arm, Context, Data, Gate, Trial, Values
from pretrial.data.labels import labelled
from pretrial.data.origins import Kind, kind_of, origin_of
from pretrial.data.reading.sources import load
from pretrial.data.rows import spread
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.evaluate.finetune import best_rate, finetune
from pretrial.evaluate.floors import NAMES, Floor, floor_of
from pretrial.evaluate.probe import probe_log_probs

Way = Literal["probe", "finetune"]

#: The metrics of labels, whatever trial measures them.
METRICS = ("accuracy", "nll", "probe_nll", "probe_accuracy")
#: The ability that each way of asking needs.
ABILITIES: dict[Way, str] = {"probe": "encode", "finetune": "classifier"}

_MOST_TEST, _MOST_LEARNT = 1000, 2000  # rows; fine-tuning is paid for with every seed of every arm
_TEST_RATIO = 0.25
_EPOCHS, _TRIED_EPOCHS, _BATCH = 5, 2, 16
_RATES = (3e-4, 1e-3, 3e-3)

NOTE = (
    f"Labels: every arm learns without them first; then from at most {_MOST_LEARNT} labelled rows,"
    f" and is asked for those of at most {_MOST_TEST} others. Fine-tuning has {_EPOCHS} epochs, and"
    f" its learning rate is chosen among {', '.join(map(str, _RATES))} on a quarter of these rows."
)


def data_on_labels(source: str) -> Data:
    """All rows but those to test on, to train on; and labelled rows to learn from and to test on.

    Raises:
        UserError: there are too few rows, or fewer than two labels.
    """
    rows = load(source)
    known, labels = labelled(rows)
    if len(set(map(str, labels))) < 2:
        raise UserError(f"all {len(known)} labels of {source} are alike: there is nothing to tell")
    shares = {"test": _TEST_RATIO, "learn": 1 - _TEST_RATIO}
    parts = split_by_group(known, origin_of, shares)
    seen = {str(row["label"]) for row in parts["learn"]}
    test = [row for row in parts["test"] if str(row["label"]) in seen]
    learn, test = list(spread(parts["learn"], _MOST_LEARNT)), list(spread(test, _MOST_TEST))
    if min(len(learn), len(test)) < 8 or len(seen) < 2:
        raise UserError(
            f"{source} has {len(known)} labelled rows, too few to learn from and to be tested on:"
            " give more"
        )
    tested = {origin_of(row) for row in parts["test"]}
    return Data(
        train=[row for row in rows if origin_of(row) not in tested],
        test=(learn, test),
        name=f"{source}: {len(learn)} labelled rows of {len(seen)} classes to learn from,"
        f" {len(test)} to test on",
    )


def measure_on_labels(method: Any, found: Data, seed: int, way: Way) -> Values:
    """Per test row 1.0 where it was told rightly, and the negative log-likelihood of its label.

    Args:
        method: with the ability of the way; or what a floor arm gave.
        found: of `data_on_labels`.
        seed: of fine-tuning.
        way: how the method is asked.
    """
    if isinstance(method, Floor):
        return {"accuracy": method.right.tolist(), "log_loss": method.nll.tolist()}
    learn, test = found.test
    names = sorted({str(row["label"]) for row in learn})
    targets, places = ([names.index(str(row["label"])) for row in part] for part in (learn, test))
    known, asked = examples_of(method, learn), examples_of(method, test)
    if way == "probe":
        vectors = method.encode([*known, *asked]).detach().float().cpu().numpy()
        log_probs = probe_log_probs(
            vectors[: len(learn)], targets, vectors[len(learn) :], len(names)
        )
    else:
        log_probs = _finetuned(method, list(zip(known, targets, strict=True)), asked, seed)
    right = np.array(places)
    return {
        "accuracy": (log_probs.argmax(-1) == right).astype(float).tolist(),
        "log_loss": (-log_probs[np.arange(len(right)), right]).tolist(),
    }


def _finetuned(
    method: Any, pairs: Sequence[tuple[Any, int]], asked: Sequence[Any], seed: int
) -> np.ndarray[Any, Any]:
    """Logarithms of the probabilities of the classes [N, C] that a fine-tuned classifier gives."""
    num_classes = 1 + max(place for _, place in pairs)

    def make() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return method.classifier(num_classes, **pooling_for(method))

    how: dict[str, Any] = {"batch_size": _BATCH, "seed": seed}
    order = np.random.default_rng(seed).permutation(len(pairs)).tolist()
    pairs = [pairs[i] for i in order]
    rate = best_rate(make, pairs, _RATES, epochs=_TRIED_EPOCHS, **how)
    classifier = make()
    finetune(classifier, pairs, lr=rate, epochs=_EPOCHS, **how)
    return classifier.logits(asked).float().log_softmax(-1).cpu().numpy()


def pooling_for(method: Any) -> dict[str, Any]:
    """The mean of all states, where the method lets one choose, which needs less training."""
    known = inspect.signature(method.classifier).parameters
    return {"pooling": "mean"} if "pooling" in known else {}


def floor_arms(kind: Kind | None, first: Arm) -> tuple[Arm, ...]:
    """The arms "majority", "counts" and "random", which do not train.

    Args:
        kind: what rows hold; None where it is nothing that a practitioner's baseline can read.
        first: whose network has random weights.
    """
    random = dataclasses.replace(
        first, name="random", label="random weights", role="control", trains=False
    )
    if kind is None:
        return (random,)
    run = partial(_floor, kind)
    return (
        Arm("majority", "the majority", "control", run=partial(run, 0), trains=False),
        Arm("counts", NAMES[kind], "control", run=partial(run, 1), trains=False),
        random,
    )


def _floor(kind: Kind, place: int, context: Context) -> Floor:
    """What the majority (0) or a linear model on what everybody can count (1) says."""
    learn, test = context.data.test
    return floor_of(learn, test, kind)[place]


def on_labels(trial: Trial, source: str, way: Way, first: Arm) -> Trial:
    """A comparison, asked for the labels of the data instead.

    Args:
        trial: of several methods; its arms keep their settings.
        source: the data, with `label`.
        way: how a method is asked.
        first: the arm whose random weights are measured too.
    """
    kind = kind_of(load(source)[0])
    floor = floor_arms(kind, first)
    data: Callable[[], Data] = partial(data_on_labels, source)
    how = "fine-tuning on labels" if way == "finetune" else "a linear probe of labels"
    kept = tuple(arm for arm in trial.arms if arm.role != "control")
    return Trial(
        question=f"{trial.question.split(' is best by')[0]} is best by accuracy of {how}, at an"
        " equal budget?",
        title=trial.title,
        data=data,
        arms=(*kept, *floor),
        measure=partial(measure_on_labels, way=way),
        metric="accuracy",
        direction="higher",
        budget=trial.budget,
        useful=0.02,
        gate=Gate(tuple(arm.name for arm in floor), 1.0),
        tuning=trial.tuning,
        baseline=trial.baseline,
        claims=tuple((arm, base, "accuracy", "higher") for arm, base, _, _ in trial.claims),
        most_seeds=trial.most_seeds,
        packages=("sklearn",),
        notes=(NOTE,),
    )


class _Majority:
    """Says of every row how frequent each label is among those that are learnt from."""

    def values(self, found: Data) -> Values:
        """The metrics of labels, as `few_labels` and `packages` give them."""
        halved = isinstance(found.test, tuple)
        learn = found.test[0] if halved else [r for r in found.train if r.get("label") is not None]
        test = found.test[1] if halved else found.test
        names = sorted({str(row["label"]) for row in learn})
        counts = np.array([sum(str(row["label"]) == name for row in learn) for name in names])
        log_probs = np.tile(np.log(counts / counts.sum()), (len(test), 1))
        own = scored(log_probs, [names.index(str(row["label"])) for row in test], test)
        return {**own, **{f"probe_{name}": value for name, value in own.items()}}


def with_majority(trial: Trial, source: str) -> Trial:
    """A comparison on labelled data that asks for labels, with the most frequent among its floor.

    Args:
        trial: whatever it measures.
        source: the data that was named; "" is the trial's own.
    """
    if trial.metric not in METRICS or not source:
        return trial
    if next(iter(load(source, streaming=True))).get("label") is None:
        return trial

    def measure(subject: Any, found: Data, seed: int) -> Values:
        if isinstance(subject, _Majority):
            return subject.values(found)
        return trial.measure(subject, found, seed)

    arm = Arm("majority", "the majority", "control", run=_majority, trains=False)
    gate = dataclasses.replace(trial.gate, trivial=(*trial.gate.trivial, arm.name))
    return dataclasses.replace(trial, arms=(*trial.arms, arm), measure=measure, gate=gate)


def _majority(context: Context) -> _Majority:
    return _Majority()
