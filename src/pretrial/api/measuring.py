"""A fine-tuned model beside what anybody has without pre-training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pretrial.api import data
from pretrial.api.opening import Opened
from pretrial.data.rows import Row
from pretrial.errors import UserError
from pretrial.evaluate.result import Result


def beside_floors(opened: Opened, rows: Sequence[Row], result: Result) -> Result:
    """The result of a classifier with notes on its floors, fitted on the rows it was given.

    Args:
        opened: a fine-tuned run; for others the result stays as it is.
        rows: that were measured on.
        result: of the task "answers".
    """
    record = opened.record
    if record is None or record.config.get("task") != "classify":
        return result
    from pretrial.evaluate.floors import floor_of
    from pretrial.evaluate.intervals import bootstrap_difference

    notes: dict[str, Any] = {}
    try:
        floors = floor_of(_given(record.arguments), rows, record.config["modality"])
    except UserError as error:
        notes["floors"] = f"not measured ({error})"
        return Result(result.metrics, result.items, result.notes | notes)
    for floor in floors:
        notes[floor.name] = (
            f"accuracy {floor.accuracy.value:.4g}, log_loss {floor.log_loss.value:.4g}"
        )
    gain = bootstrap_difference(result.items["accuracy"], floors[-1].right.tolist())
    verdict = "better" if gain.low > 0 else "worse" if gain.high < 0 else "not told apart"
    notes[f"accuracy beside {floors[-1].name}"] = (
        f"{gain.value:+.4g} (95 %: {gain.low:+.4g} to {gain.high:+.4g}), {verdict}"
    )
    return Result(result.metrics, result.items, result.notes | notes)


def _given(arguments: dict[str, Any]) -> Sequence[Row]:
    """The rows that a run was given to learn from and to hold some of them out.

    Raises:
        UserError: they are no longer there.
    """
    names = {field.name for field in dataclasses.fields(data.Source)} & arguments.keys()
    own = {name: arguments[name] for name in names}
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}
    return data.load(data.Source(**lists))
