"""The task that encoders of code are tried on: functions whose variables were renamed.

How well are hidden tokens named in them, and is a function still found by its vector? Functions are
so short that a window holds them whole, since a small encoder learns little of long windows in
minutes. Whole modules lie on one side of the split. A labelled task on top asks whether a variable
was misused, in functions as they are and renamed.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pretrial.code_views import view
from pretrial.code_views.rewrites import rename_variables
from pretrial.compare.kit.floors import TokenCounts
from pretrial.compare.kit.functions import misuse_task
from pretrial.compare.kit.masked_scores import masked_scores
from pretrial.compare.trial import Data, Items, Values
from pretrial.corrupt.masks import chosen_of
from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.finetune import finetune
from pretrial.evaluate.robustness import Renamed, found_again, renamed_functions
from pretrial.train.stage import Batch

_CHARACTERS = (40, 130)  # of a function, without docstring and comments
_MAX_LENGTH = 114  # tokens that hold nearly all of them, in a vocabulary of 300
#: 0.1 M parameters, with which a core gets past counts of neighbours in a minute or two.
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "num_positions": _MAX_LENGTH + 2,
    "max_length": _MAX_LENGTH,
    "mask_ratio": 0.3,
    "init_std": 0.125,
    "dropout_prob": 0.0,
    "batch_size": 16,
    "lr": 4e-3,
}
_RENAMES = (0, 1, 2, 4, 8)
_LEAST_VARIABLES = 2
_MOST_CHARACTERS = 1000  # of a function whose variables may be misused


@dataclass(frozen=True)
class Tests:
    """What is measured on.

    Attributes:
        functions: of the test modules.
        groups: their modules.
        misuse: labelled functions to learn from and to be tested on, if they are asked for.
    """

    functions: Renamed
    groups: list[Hashable]
    misuse: dict[str, list[tuple[str, int]]]


def data(
    source: str, num_functions: int, num_train: int, num_misuse: int, draws: str = "renamed"
) -> Data:
    """Functions to train on, and others to be renamed.

    Args:
        source: as `data.reading.sources.load` takes it; rows with `code`, and `docstring` or
            `comment`.
        num_functions: most functions to be renamed.
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
    train_samples, test_samples = _short(train_rows)[:num_train], _short(test_rows)
    if len(train_samples) < 100:
        raise UserError(
            f"{source} has {len(train_samples)} short functions to train on: give more code"
        )
    functions = renamed_functions(
        test_samples, _RENAMES, num_functions=num_functions, least_variables=_LEAST_VARIABLES
    )
    groups = {row["code"]: row["group"] for row in test_samples}
    return Data(
        train=train_samples,
        test=Tests(
            functions,
            [groups[text] for text in functions.originals],
            _misuse(train_rows, test_rows, num_misuse, draws),
        ),
        name=f"{source}: {len(train_samples)} functions to train on",
    )


def _short(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Short functions without docstring and comments; the first paragraph becomes the comment."""
    found = []
    for row in rows:
        language = str(row.get("language") or "python")
        code = view(row["code"], language).without_comments(docstrings=True)
        comment = str(row.get("comment") or row.get("docstring") or "")
        comment = " ".join(comment.strip().split("\n\n")[0].split())
        if _CHARACTERS[0] <= len(code) <= _CHARACTERS[1]:
            own = {"code": code, "comment": comment, "language": language}
            found.append({**own, "group": row["group"]})
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


def measure(method: Any, found: Data, seed: int) -> Values:
    """What an encoder makes of functions that were renamed.

    Args:
        method: an encoder of texts whose network has a head that names tokens; or
            `floors.TokenCounts`, which has no vectors.
        found: what `data` gave.
        seed: of the classifier.

    Returns:
        "renamed_nll" and "plain_nll", in nats a hidden token, of the functions with all variables
        renamed and as they are; "renaming_cost", by how much the former is larger;
        "renamed_token_accuracy"; of vectors "accuracy_0" to "accuracy_8", 1.0 where a function is
        found after so many renames; and, where asked for, "misuse_accuracy" and "misuse_renamed".
    """
    tests: Tests = found.test
    last, encodes = max(_RENAMES), not isinstance(method, TokenCounts)
    naming = _Naming(method) if encodes else method
    length = (method.config if encodes else method).max_length
    scores = {
        count: masked_scores(naming, tests.functions.variants[count], length, tests.groups)
        for count in (0, last)
    }
    results: dict[str, float | Sequence[float] | Items] = {
        "renamed_nll": scores[last]["mlm_loss"],
        "plain_nll": scores[0]["mlm_loss"],
        "renaming_cost": _mean(scores[last]["mlm_loss"]) - _mean(scores[0]["mlm_loss"]),
        "renamed_token_accuracy": scores[last]["mlm_accuracy"],
    }
    if not encodes:
        return results
    again = found_again(method.encode, tests.functions)
    results |= {f"accuracy_{count}": Items(v, tests.groups) for count, v in again.items()}
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


def _mean(items: Items) -> float:
    return sum(items.values) / len(items.values)


class _Naming:
    """An encoder of texts as `masked_scores` takes it.

    Args:
        method: whose network is a masked language model of transformers.
    """

    def __init__(self, method: Any) -> None:
        self.method, self.tokenizer = method, method.tokenizer

    def batch(self, windows: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Hides tokens as in training."""
        return self.method.masked(windows, generator)

    def logits(self, batch: Batch) -> Tensor:
        """What is predicted at the chosen positions [N, V]."""
        mask = batch["attention_mask"].long()
        logits = self.method.network(input_ids=batch["input_ids"], attention_mask=mask).logits
        return chosen_of(logits, batch)
