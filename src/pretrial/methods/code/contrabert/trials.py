"""ContraBERT on trial: do vectors of functions stand renaming, beyond what was trained on?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from pretrial.code_views import view
from pretrial.code_views.rewrites import rename_variables
from pretrial.compare.kit.functions import misuse_task
from pretrial.compare.kit.warm_starts import untrained, warm_start
from pretrial.compare.trial import Arm, Data, Trial
from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.finetune import finetune
from pretrial.evaluate.robustness import Renamed, found_again, renamed_functions
from pretrial.methods.code.contrabert.config import Config
from pretrial.methods.code.contrabert.data import CODE_OPERATORS
from pretrial.train.budget import Budget

_CODE = "builtin:stdlib-code"
_RENAMES = (0, 1, 2, 4, 8)
_METRIC = "accuracy_8"
_MOST_CHARACTERS = 1000  # of a function, without docstring and comments
_PRESERVING = tuple(name for name in CODE_OPERATORS if name != "sample_lines")
_WITHOUT_RENAMING = tuple(name for name in CODE_OPERATORS if not name.startswith("rename"))

_NOTES = (
    "0.2 M parameters, pre-trained for half a minute on functions of Python's standard library; the"
    " paper goes on from CodeBERT with 125 M.",
    "All arms go on from the same encoder, one a seed, at equal FLOPs, the passes of the variants"
    " and of the momentum encoder counted: ContraBERT takes less than half of the steps.",
    "A function is found if the vector of its renamed form is nearer to its own than to those of"
    " all others, which are of modules that no arm has read. Functions have four variables or more"
    " that can be renamed; at 8, those with fewer have all renamed. New names are drawn from the"
    " names of the other test functions, not from those that training draws from.",
    "The arm without renaming is trained without the two operators that rename: what it gains was"
    " not trained on.",
    "Vectors are means over all tokens, in all arms: in a pilot the state of the first token, which"
    " the method has by default, had learned little within the minutes that a trial has. Random"
    " weights make such means a sum of random vectors of tokens, which is a strong control.",
    "The peak learning rate is 2e-3 for all arms, and batches are of 32; neither was tuned."
    " Temperature 0.07 is MoCo's; momentum and queue were set once, to fit the few steps.",
)


@dataclass(frozen=True)
class Tests:
    """What is measured on.

    Attributes:
        functions: to be found, of the test modules.
        misuse: labelled functions to learn from and to be tested on, if they are asked for.
    """

    functions: Renamed
    misuse: dict[str, list[tuple[str, int]]]


def make_data(source: str, num_functions: int, num_train: int, num_misuse: int) -> Data:
    """Functions to train on, and others to be found.

    Args:
        source: as `data.reading.sources.load` takes it; rows with `code`, and `docstring` or
            `comment`.
        num_functions: to search among.
        num_train: most functions to train on.
        num_misuse: labelled functions to learn a task from; 0 for none.

    Raises:
        UserError: there are too few functions.
    """
    rows = load(source)
    require(rows, ("code",))
    grouped = [{**row, "group": str(row.get("module") or row["code"])} for row in rows]
    sides = split_by_group(grouped, "group", {"train": 0.8, "test": 0.2})
    train_rows, test_rows = (list(sides[name]) for name in ("train", "test"))
    random.Random("contrabert").shuffle(train_rows)
    train_rows = train_rows[:num_train]
    train_samples, test_samples = _bare(train_rows), _bare(test_rows)
    short = [row for row in test_samples if len(row["code"]) <= _MOST_CHARACTERS]
    if len(train_samples) < 100:
        raise UserError(f"{source} has {len(train_samples)} functions to train on: give more code")
    return Data(
        train=train_samples,
        test=Tests(
            renamed_functions(short, _RENAMES, num_functions=num_functions),
            _misuse(train_rows, test_rows, num_misuse),
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
    train_rows: Sequence[Any], test_rows: Sequence[Any], number: int
) -> dict[str, list[tuple[str, int]]]:
    """Functions in half of which one variable was replaced by another; the test also renamed."""
    found: dict[str, list[tuple[str, int]]] = {"learn": [], "test": [], "renamed": []}
    for side, rows in (("learn", train_rows), ("test", test_rows)):
        rng = random.Random(f"contrabert misuse {side}")
        for row in rows:
            if len(found[side]) == (number if side == "learn" else number // 2):
                break
            made = misuse_task(row, rng)
            if made is not None and len(made[0]) <= _MOST_CHARACTERS:
                found[side].append(made)
    rng = random.Random("contrabert misuse renamed")
    for code, label in found["test"]:
        found["renamed"].append((rename_variables(view(code), rng, count=8) or code, label))
    return found


def measure(method: Any, data: Data, seed: int) -> dict[str, float | list[float]]:
    """For each test function, whether it is found after so many renames.

    Returns:
        "accuracy_0" to "accuracy_8", and, where asked for, "misuse_accuracy" and "misuse_renamed".
    """
    tests: Tests = data.test
    found = found_again(method.encode, tests.functions)
    results: dict[str, float | list[float]] = {
        f"accuracy_{count}": values for count, values in found.items()
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


def trial(
    *,
    data: str = _CODE,
    num_functions: int = 300,
    num_train: int = 4000,
    num_misuse: int = 0,
    pretrain_flops: float = 4e11,
    tiny: bool = False,
) -> Trial:
    """An encoder goes on with variants or without, and is asked for functions that were renamed.

    Args:
        data: rows with `code`, and `comment` or `docstring`; rows with one `module` stay on one
            side of the split.
        num_functions: functions to search among.
        num_train: most functions to train on.
        num_misuse: functions to learn to find a misused variable from; 0 leaves that task out.
        pretrain_flops: of the encoder that all arms go on from.
        tiny: networks and data small enough for a test.
    """
    config = Config.small()
    if tiny:
        config, num_functions, num_train, pretrain_flops = Config.tiny(), 40, 400, 1e9
    masking = replace(config, contrast_weight=0.0, mlm_on_variants=False)
    rows = partial(make_data, data, num_functions, num_train, num_misuse)

    return Trial(
        question="After a function's variables were renamed, is its vector still the nearest to its"
        " own, more often if the encoder went on with variants than with masked tokens alone?",
        data=rows,
        arms=_arms(config, masking),
        measure=measure,
        metric=_METRIC,
        direction="higher",
        budget=Budget(2e9 if tiny else 6e11, "flops"),
        claims=(
            ("contrabert", "mlm", _METRIC, "higher"),
            ("no-renaming", "mlm", _METRIC, "higher"),
            ("contrabert", "augmented", _METRIC, "higher"),
            ("contrabert", "mlm", "accuracy_1", "higher"),
            ("contrabert", "random", _METRIC, "higher"),
        ),
        counted=("train",),
        prepare=partial(warm_start, "contrabert", masking, rows, Budget(pretrain_flops, "flops")),
        notes=_NOTES,
    )


def _arms(config: Config, masking: Config) -> tuple[Arm, ...]:
    """The arms; `masking` has masked tokens alone."""
    random_weights = partial(untrained, "contrabert", masking)
    arm = partial(Arm, method="contrabert")
    changed = partial(replace, config)
    ablation = partial(arm, role="ablation", default=False)
    return (
        arm("contrabert", "ContraBERT", "method", config=config),
        arm(
            "no-renaming",
            "ContraBERT without renaming",
            "method",
            config=changed(code_operators=_WITHOUT_RENAMING),
        ),
        arm("mlm", "masked tokens alone", "baseline", config=masking),
        arm(
            "augmented",
            "masked tokens, in variants too",
            "control",
            config=changed(contrast_weight=0.0),
        ),
        arm("before", "before going on", "control", config=masking, trains=False),
        Arm("random", "random weights", "control", run=random_weights, trains=False),
        ablation("code-only", "operators on code", config=changed(text_operators=())),
        ablation("text-only", "operators on comments", config=changed(code_operators=())),
        ablation(
            "preserving",
            "operators that keep meaning",
            config=changed(code_operators=_PRESERVING, text_operators=()),
        ),
        ablation("no-mlm", "contrast alone", config=changed(mlm_weight=0.0)),
    )
