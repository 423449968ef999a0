"""Rank classification: the choice that a model finds most probable after a prompt is its answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from pretrial.errors import UserError
from pretrial.evaluate.result import Result


def measure_rank(
    method: Any,
    data: Sequence[Any],
    *,
    per_token: bool = False,
    seed: int = 0,
) -> Result:
    """Accuracy of the most probable choice.

    Choices with equal scores share the point, so that a model that knows nothing scores chance.

    Args:
        method: with the ability `choice_scores(prompts, choices) -> list[list[float]]`, where each
            score is a log-likelihood in nats; it is asked with `per_token=True` for means over
            tokens.
        data: rows with `input`, `choices` (two or more) and `target`, which is one of them. With a
            field `task`, accuracy is given for each; with a field `prompt`, the name of a prompt, a
            task's accuracy is the median over its prompts. `task_accuracy` is the mean over tasks.
        per_token: divide a choice's log-likelihood by its tokens.
        seed: of the bootstrap.

    Raises:
        UserError: there are no rows, or a row is not as it should be.
    """
    check_choices(data)
    scores = method.choice_scores(
        [row["input"] for row in data], [row["choices"] for row in data], per_token=per_token
    )
    right = [
        point(row_scores, list(row["choices"]).index(row["target"]))
        for row, row_scores in zip(data, scores, strict=True)
    ]
    chance = float(np.mean([1 / len(row["choices"]) for row in data]))
    notes: dict[str, Any] = {"num_items": len(data), "chance": chance}
    by_task = task_accuracies(data, right)
    for task, (accuracy, task_chance) in by_task.items():
        if task:
            notes[task] = f"{accuracy:.4f} (chance {task_chance:.4f})"
    if len(by_task) > 1:
        notes["task_accuracy"] = float(np.mean([accuracy for accuracy, _ in by_task.values()]))
    return Result.of_items({"accuracy": right}, notes, seed)


def check_choices(data: Sequence[Any]) -> None:
    """Makes sure that rows have a prompt, choices and an answer among them.

    Raises:
        UserError: one has not.
    """
    if not len(data):
        raise UserError("there are no rows to rank choices for: give data with some")
    for number, row in enumerate(data):
        for field in ("input", "choices", "target"):
            if field not in row:
                raise UserError(
                    f"row {number} has no {field!r}, which ranking needs (found:"
                    f" {', '.join(row)}): name the one to use with --fields {field}=OTHER"
                )
        choices = row["choices"]
        if isinstance(choices, str) or len(choices) < 2 or row["target"] not in choices:
            raise UserError(
                f"row {number} needs a list of two or more choices with the target among them"
            )


def point(scores: Sequence[float], answer: int) -> float:
    """1.0 where the answer scores highest; several highest ones share it."""
    best = max(scores)
    return float(scores[answer] == best) / sum(score == best for score in scores)


def task_accuracies(data: Sequence[Any], right: Sequence[float]) -> dict[str, tuple[float, float]]:
    """For each task its accuracy, the median over its prompts, and its chance."""
    prompts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    chances: dict[str, list[float]] = defaultdict(list)
    for row, value in zip(data, right, strict=True):
        task = str(row.get("task", ""))
        prompts[task][str(row.get("prompt", ""))].append(value)
        chances[task].append(1 / len(row["choices"]))
    return {
        task: (
            float(np.median([np.mean(values) for values in each.values()])),
            float(np.mean(chances[task])),
        )
        for task, each in prompts.items()
    }
