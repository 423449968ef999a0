"""How good the answers of a fine-tuned model are, on rows with labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.evaluate.auc import roc_auc
from pretrial.evaluate.intervals import Interval
from pretrial.evaluate.labelled import left_out
from pretrial.evaluate.result import Result

_NUM_BINS = 10  # of equal width, of calibration
_NUM_RESAMPLES = 1000
_NUM_MISTAKES = 3  # that the notes name

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def measure_answers(method: Any, data: Sequence[Any], *, plots: str = "", seed: int = 0) -> Result:
    """Measures a model that was fine-tuned, by what it was fine-tuned for.

    A classifier and a tagger have accuracy, macro F1, the expected calibration error (ten bins of
    equal width) and log-loss in nats; a regression R2, mean absolute and root mean square error; a
    ranking the area under the ROC curve, and MRR over queries with several documents.

    Args:
        method: with `task` and `classes`, and the ability `judged(rows)`, which gives what it says
            of the rows and what is right; see `bases.plain.judged.Judged`.
        data: rows with labels; those without are left out.
        plots: a folder for the confusion matrix of a classifier, as a picture; without one it lies
            beside --out, if that is given.
        seed: of the bootstrap.

    Raises:
        UserError: no row has a label, one has a class that the model does not know, or a field is
            missing.
    """
    judged = method.judged(data)
    notes = {"num_test": len(judged.right), **left_out(len(data), judged.num_rows)}
    if method.task == "regress":
        return _numbers(judged.said, judged.right, notes, seed)
    if method.task == "rank":
        return _scores(judged.said, judged.right, judged.groups, notes, seed)
    result = classified(judged.said, judged.right, method.classes, notes, seed)
    if plots:
        from pretrial.evaluate.confusion import draw_confusion

        drawn = draw_confusion(confusion(judged.said, judged.right), method.classes, Path(plots))
        result.notes["confusion matrix"] = str(drawn)
    return result


def classified(
    log_probs: Floats, right: Ints, names: Sequence[str], notes: dict[str, Any], seed: int
) -> Result:
    """Metrics of a classifier.

    Args:
        log_probs: of the classes [N, C].
        right: the right classes [N].
        names: of the classes.
        notes: that the result gets.
        seed: of the bootstrap.
    """
    said = log_probs.argmax(-1)
    sure = np.exp(log_probs.max(-1))
    hits = (said == right).astype(float)
    nll = -log_probs[np.arange(len(right)), right]
    mistakes = confusion(log_probs, right)
    np.fill_diagonal(mistakes, 0)
    worst = [divmod(int(i), len(names)) for i in mistakes.ravel().argsort()[::-1][:_NUM_MISTAKES]]
    notes = {
        **notes,
        "num_classes": len(names),
        "num_classes_guessed": len(set(said.tolist())),
        "most frequent mistakes": ", ".join(
            f"{names[true]} taken for {names[guess]} ({mistakes[true, guess]})"
            for true, guess in worst
            if mistakes[true, guess]
        )
        or "none",
    }
    result = Result.of_items({"accuracy": hits.tolist(), "log_loss": nll.tolist()}, notes, seed)
    more = {
        "macro_f1": _bootstrap(lambda i: macro_f1(said[i], right[i], len(names)), len(right), seed),
        "calibration_error": _bootstrap(
            lambda i: calibration_error(sure[i], hits[i]), len(right), seed
        ),
    }
    return Result(result.metrics | more, result.items, result.notes)


def confusion(log_probs: Floats, right: Ints) -> Ints:
    """How often a class [row] is taken for another [column], [C, C]."""
    size = log_probs.shape[1]
    both = right * size + log_probs.argmax(-1)
    return np.bincount(both, minlength=size * size).reshape(size, size)


def macro_f1(said: Ints, right: Ints, num_classes: int) -> float:
    """The mean of F1 over the classes that are among the right ones or the guesses."""
    hits = np.bincount(right[said == right], minlength=num_classes)
    either = np.bincount(said, minlength=num_classes) + np.bincount(right, minlength=num_classes)
    return float((2 * hits[either > 0] / either[either > 0]).mean())


def calibration_error(probs: Floats, hits: Floats) -> float:
    """The expected calibration error: how far probabilities of answers are from their hit rates.

    Args:
        probs: of the likeliest class of each item [N].
        hits: 1.0 where it is the right one [N].
    """
    bins = np.minimum((probs * _NUM_BINS).astype(int), _NUM_BINS - 1)
    gaps = np.bincount(bins, probs - hits, minlength=_NUM_BINS)
    return float(np.abs(gaps).sum() / len(probs))


def _numbers(said: Floats, right: Floats, notes: dict[str, Any], seed: int) -> Result:
    """Metrics of a regression."""
    errors = np.abs(said - right)
    spread = float(((right - right.mean()) ** 2).mean()) or 1.0

    def r2(i: Ints) -> float:
        return float(1 - (errors[i] ** 2).mean() / spread)

    result = Result.of_items({"absolute_error": errors.tolist()}, notes, seed)
    more = {
        "r2": _bootstrap(r2, len(right), seed),
        "rms_error": _bootstrap(lambda i: float((errors[i] ** 2).mean() ** 0.5), len(right), seed),
    }
    return Result(more | result.metrics, result.items, result.notes)


def _scores(
    said: Floats, right: Floats, queries: Sequence[Any], notes: dict[str, Any], seed: int
) -> Result:
    """Metrics of a ranking."""
    wanted = right > 0.5
    metrics: dict[str, Interval] = {}
    if wanted.any() and not wanted.all():

        def auc(i: Ints) -> float:
            good, bad = said[i][wanted[i]], said[i][~wanted[i]]
            return roc_auc(good.tolist(), bad.tolist()) if len(good) and len(bad) else np.nan

        metrics["auc"] = _bootstrap(auc, len(right), seed)
    groups: dict[Any, list[int]] = {}
    for place, query in enumerate(queries):
        groups.setdefault(query, []).append(place)
    ranks = []
    for places in groups.values():
        ordered = sorted(places, key=lambda place: -said[place])
        found = [rank for rank, place in enumerate(ordered, 1) if wanted[place]]
        if found and len(places) > 1:
            ranks.append(1 / found[0])
    items = {"mrr": ranks} if ranks else {"right": ((said > 0) == wanted).astype(float).tolist()}
    result = Result.of_items(items, {**notes, "num_queries": len(groups)}, seed)
    return Result(metrics | result.metrics, result.items, result.notes)


def _bootstrap(measure: Callable[[Ints], float], num_items: int, seed: int) -> Interval:
    """A metric of all items, with its interval over resamples of them."""
    rng = np.random.default_rng(seed)
    drawn = [measure(rng.integers(num_items, size=num_items)) for _ in range(_NUM_RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(measure(np.arange(num_items)), float(low), float(high))
