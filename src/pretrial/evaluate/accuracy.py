"""The accuracy of a classifier that a run has trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretrial.data.labels import labelled
from pretrial.evaluate.labelled import left_out
from pretrial.evaluate.result import Result


def measure_accuracy(
    method: Any, data: Sequence[Any], *, label: str = "label", seed: int = 0
) -> Result:
    """Accuracy of a classifier that was trained with the labels of its own data.

    Args:
        method: with the ability `classify(examples)`, which gives a row with `label` for each.
        data: rows as `method.read` takes them, with a label; those without are left out.
        label: name of the label's field.
        seed: of the bootstrap.

    Raises:
        UserError: no row has a label, or one is a list.
    """
    rows, labels = labelled(data, label)
    wanted = [str(each) for each in labels]
    found = [str(row["label"]) for row in method.classify(method.read(rows))]
    right = [float(guess == name) for guess, name in zip(found, wanted, strict=True)]
    notes = {
        "num_test": len(wanted),
        "num_classes_guessed": len(set(found)),
        "majority_accuracy": max(map(wanted.count, set(wanted))) / len(wanted),
        **left_out(len(data), len(rows)),
    }
    return Result.of_items({"accuracy": right}, notes, seed)
