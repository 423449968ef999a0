"""Labelled examples: some to learn from, others to be measured on, and how many come out right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pretrial.data.labels import labelled
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.evaluate.result import Result

T = TypeVar("T")


def read_labelled(
    method: Any, rows: Sequence[Any], field: str = "", label: str = "label"
) -> list[tuple[Any, Any]]:
    """The examples of rows, as `method.read` makes them, with their labels.

    Rows without a label, be it null, NaN or not there, are left out.

    Args:
        method: see `examples_of`.
        rows: raw rows.
        field: see `examples_of`.
        label: name of the label's field.

    Raises:
        UserError: no row has a label, a label is a list, or a row cannot be read.
    """
    kept, labels = labelled(rows, label)
    return list(zip(examples_of(method, kept, field), labels, strict=True))


def split_labelled(
    pairs: Sequence[tuple[T, Any]], num_train: int, seed: int
) -> tuple[list[tuple[T, int]], list[tuple[T, int]], list[Any]]:
    """Training pairs, test pairs (example, class), and the labels by class.

    Each label gives its share of the training pairs, rounded, but at least one.

    Args:
        pairs: examples with their labels.
        num_train: pairs to learn from.
        seed: of the draw.

    Raises:
        UserError: the pairs are too few.
    """
    names = sorted({name for _, name in pairs}, key=str)
    if len(names) < 2 or not len(names) <= num_train < len(pairs):
        raise UserError(
            f"{len(pairs)} rows with {len(names)} labels cannot give {num_train} to learn from and"
            " some to be measured on; give more rows or another num_train"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs)).tolist()
    chosen: set[int] = set()
    for name in names:
        group = [i for i in order if pairs[i][1] == name]
        chosen.update(group[: max(1, round(num_train * len(group) / len(pairs)))])
    place = {name: i for i, name in enumerate(names)}
    examples = [(example, place[name]) for example, name in pairs]
    train = [examples[i] for i in order if i in chosen]
    return train, [each for i, each in enumerate(examples) if i not in chosen], names


def left_out(num_rows: int, num_labelled: int) -> dict[str, int]:
    """A note of the rows that have no label, where there are any."""
    without = num_rows - num_labelled
    return {"num_without_label": without} if without else {}


def scored(
    guesses: NDArray[Any],
    train: Sequence[tuple[Any, int]],
    test: Sequence[tuple[Any, int]],
    names: Sequence[Any],
    seed: int,
    num_rows: int,
) -> Result:
    """The accuracy of guessed classes [N] of the test pairs.

    Args:
        guesses: classes.
        train: pairs that were learnt from.
        test: pairs that were guessed.
        names: the labels by class.
        seed: of the bootstrap.
        num_rows: those that were given; the notes say how many of them have no label.
    """
    right = [float(guess == place) for guess, (_, place) in zip(guesses, test, strict=True)]
    shares = np.bincount([place for _, place in test], minlength=len(names)) / len(test)
    notes = {
        "num_train": len(train),
        "num_test": len(test),
        "num_classes": len(names),
        "num_classes_guessed": len(set(guesses.tolist())),
        "majority_accuracy": float(shares.max()),
        **left_out(num_rows, len(train) + len(test)),
    }
    return Result.of_items({"accuracy": right}, notes, seed)
