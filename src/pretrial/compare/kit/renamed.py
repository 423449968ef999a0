"""The task that encoders of code are tried on: is a function found by its vector after renaming?

Vectors are compared as they are, so that it takes seconds. Whole modules lie on one side of the
split; a labelled task on top asks whether a variable was misused, in functions as they are and
renamed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pretrial.code_views import view
from pretrial.code_views.rewrites import rename_variables
from pretrial.compare.kit.functions import misuse_task
from pretrial.compare.trial import Data
from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.finetune import finetune
from pretrial.evaluate.robustness import Renamed, found_again, renamed_functions

_RENAMES = (0, 1, 2, 4, 8)
_MOST_CHARACTERS = 1000  # of a function, without docstring and comments


@dataclass(frozen=True)
class Tests:
    """What is measured on.

    Attributes:
        functions: to be found, of the test modules.
        misuse: labelled functions to learn from and to be tested on, if they are asked for.
    """

    functions: Renamed
    misuse: dict[str, list[tuple[str, int]]]


def data(
    source: str, num_functions: int, num_train: int, num_misuse: int, draws: str = "renamed"
) -> Data:
    """Functions to train on, and others to be found.

    Args:
        source: as `data.reading.sources.load` takes it; rows with `code`, and `docstring` or
            `comment`.
        num_functions: to search among.
        num_train: most functions to train on.
        num_misuse: labelled functions to learn a task from; 0 for none.
        draws: seeds them; other trials draw other functions.

    Raises:
        UserError: there are too few functions.
    """
    rows = load(source)
    require(rows, ("code",))
    grouped = [{**row, "group": str(row.get("module") or row["code"])} for row in rows]
    sides = split_by_group(grouped, "group", {"train": 0.8, "test": 0.2})
    train_rows, test_rows = (list(sides[name]) for name in ("train", "test"))
    random.Random(draws).shuffle(train_rows)
    train_rows = train_rows[:num_train]
    train_samples, test_samples = _bare(train_rows), _bare(test_rows)
    short = [row for row in test_samples if len(row["code"]) <= _MOST_CHARACTERS]
    if len(train_samples) < 100:
        raise UserError(f"{source} has {len(train_samples)} functions to train on: give more code")
    return Data(
        train=train_samples,
        test=Tests(
            renamed_functions(short, _RENAMES, num_functions=num_functions),
            _misuse(train_rows, test_rows, num_misuse, draws),
        ),
        name=f"{source}: {len(train_samples)} functions to train on",
    )


def _bare(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows without docstring and comments in the code; the first paragraph becomes the comment."""
    found = []
    for row in rows:
        language = str(row.get("language") or "python")
        code = view(row["code"], language).without_comments(docstrings=True)
        comment = str(row.get("comment") or row.get("docstring") or "")
        comment = " ".join(comment.strip().split("\n\n")[0].split())
        if code.strip():
            found.append({"code": code, "comment": comment, "language": language})
    return found


def _misuse(
    train_rows: Sequence[Any], test_rows: Sequence[Any], number: int, draws: str
) -> dict[str, list[tuple[str, int]]]:
    """Functions in half of which one variable was replaced by another; the test also renamed."""
    found: dict[str, list[tuple[str, int]]] = {"learn": [], "test": [], "renamed": []}
    for side, rows in (("learn", train_rows), ("test", test_rows)):
        rng = random.Random(f"{draws} misuse {side}")
        for row in rows:
            if len(found[side]) == (number if side == "learn" else number // 2):
                break
            made = misuse_task(row, rng)
            if made is not None and len(made[0]) <= _MOST_CHARACTERS:
                found[side].append(made)
    rng = random.Random(f"{draws} misuse renamed")
    for code, label in found["test"]:
        found["renamed"].append((rename_variables(view(code), rng, count=8) or code, label))
    return found


def measure(method: Any, found: Data, seed: int) -> dict[str, float | list[float]]:
    """For each test function, whether it is found after so many renames.

    Returns:
        "accuracy_0" to "accuracy_8", and, where asked for, "misuse_accuracy" and "misuse_renamed".
    """
    tests: Tests = found.test
    again = found_again(method.encode, tests.functions)
    results: dict[str, float | list[float]] = {
        f"accuracy_{count}": values for count, values in again.items()
    }
    if tests.misuse["learn"]:
        torch.manual_seed(seed)
        classifier = method.classifier(2, pooling="mean")
        finetune(classifier, tests.misuse["learn"], epochs=6, batch_size=32, lr=1e-3, seed=seed)
        for name, side in (("misuse_accuracy", "test"), ("misuse_renamed", "renamed")):
            guesses = classifier.logits([code for code, _ in tests.misuse[side]]).argmax(-1)
            labels = [label for _, label in tests.misuse[side]]
            pairs = zip(guesses.tolist(), labels, strict=True)
            results[name] = [float(guess == label) for guess, label in pairs]
    return results
