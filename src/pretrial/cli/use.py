"""`predict` and `eval`: a trained run on new data.

`predict` calls an ability of the method: the method of its class that a name in `CARD.abilities`
names. It takes the examples, and its keyword-only parameters become options of the command line,
with the texts of its `Args:` section:

    def solve(self, examples, *, num_samples: int = 200, seed: int = 0) -> Iterator[dict]

It gives a row for each example, one after the other, or one tensor [N, ...] for all of them. `eval`
measures an ability by a task of `pretrial.evaluate`, whose options become those of the command line
in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pretrial.api import data, rows_out, runs
from pretrial.api.measuring import beside_floors
from pretrial.api.opening import Opened, open_model
from pretrial.cli import config_file, options
from pretrial.errors import UserError, nearest
from pretrial.train.method import Method

if TYPE_CHECKING:
    from pretrial.evaluate.result import Result

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Ability:
    """Which of the method's abilities is used.

    Attributes:
        ability: its name; without one, the first that `pretrial info` shows.
    """

    ability: str = ""


@dataclass(frozen=True)
class Task:
    """What is measured.

    Attributes:
        task: its name; without one, those that the method can do are named.
    """

    task: str = ""


@dataclass(frozen=True)
class Output:
    """Where and how the model is run.

    Attributes:
        out: a file for the results, as JSON; without one they are only printed.
        device: cpu, cuda, or auto.
        dtype: of the weights; bf16 halves memory and is faster where the processor has it.
    """

    out: str = ""
    device: str = "auto"
    dtype: Literal["fp32", "bf16"] = "fp32"

    def place(self, method: Method) -> Method:
        """The method, moved to the device and into the type."""
        dtype = torch.bfloat16 if self.dtype == "bf16" else torch.float32
        return method.to(device=runs.device(self.device), dtype=dtype)


def predict(argv: Sequence[str]) -> None:
    """Applies an ability of a trained run, or of a plain checkpoint, to new data."""
    name, rest = options.first_word(argv, "pretrial predict", "the folder of a run")
    prog = f"pretrial predict {name}"
    opened = open_model(name)
    if rest and not rest[0].startswith("-"):
        raise UserError(f"{prog} takes no word {rest[0]!r}: an ability is named by --ability")
    ability = _ability(opened, options.peek(Ability, rest, prog=prog).ability)
    parts = options.merge(
        source=data.Source,
        ability=Ability,
        output=Output,
        options=options.from_signature(getattr(opened.kind, ability), ability.title()),
    )
    about = f"{ability}: {opened.card.slug}"
    parsed: Any = options.parse(parts, rest, prog=prog, description=about)
    runs.device(parsed.output.device)  # refused before the data are read, if it is not there
    rows_out.check_ending(parsed.output.out)
    rows = data.load(parsed.source)
    method = parsed.output.place(opened.load())
    examples = data.read(method, rows, parsed.source)
    with torch.no_grad(), rows_out.writing(parsed.output.out) as write:
        for row in _rows(ability, getattr(method, ability)(examples, **vars(parsed.options))):
            write(row)
    if parsed.output.out:
        given = (parsed.source, parsed.ability, parsed.output, parsed.options)
        config_file.leave_beside(Path(parsed.output.out), ["predict", name], *given)


def evaluate(argv: Sequence[str]) -> None:
    """Measures a trained run, or a plain checkpoint, on a task, with intervals over the items."""
    from pretrial.evaluate import tasks

    name, rest = options.first_word(argv, "pretrial eval", "the folder of a run")
    prog = f"pretrial eval {name}"
    opened = open_model(name)
    asked = options.peek(Task, rest, prog=prog).task or getattr(opened.kind, "default_task", "")
    if not asked:
        able = ", ".join(tasks.tasks_for(opened.kind)) or "none"
        raise UserError(f"{prog} needs --task; {opened.card.slug} can do {able}")
    task = tasks.find_task(asked)
    parts = options.merge(
        task=Task,
        source=data.Source,
        output=Output,
        options=options.from_signature(task.function, "Options"),
    )
    parsed: Any = options.parse(parts, rest, prog=prog, description=f"{task.name}: {task.summary}")
    runs.device(parsed.output.device)
    rows = data.load(parsed.source)
    method = parsed.output.place(opened.load())
    rows = data.readable(method, rows, parsed.source, parsed.options)
    how = vars(parsed.options)
    if parsed.output.out and how.get("plots") == "" and find_spec("matplotlib"):
        how = how | {"plots": str(Path(parsed.output.out).parent)}
    result = tasks.evaluate(task.name, method, rows, **how)
    if task.name == getattr(opened.kind, "default_task", ""):
        result = beside_floors(opened, rows, result)
    _print(result)
    if parsed.output.out:
        text = json.dumps({"task": task.name, "run": opened.source, **result.to_dict()}, indent=1)
        runs.write_text(Path(parsed.output.out), text + "\n")
        given = (parsed.task, parsed.source, parsed.output, parsed.options)
        config_file.leave_beside(Path(parsed.output.out), ["eval", name], *given)


def _print(result: Result) -> None:
    width = max(map(len, result.metrics))
    for metric, interval in result.metrics.items():
        print(
            f"{metric:<{width}}  {interval.value:.4g}"
            f"  (95 %: {interval.low:.4g} to {interval.high:.4g})"
        )
    for note, value in result.notes.items():
        print(f"{note}: {value:.4g}" if isinstance(value, float) else f"{note}: {value}")


def _ability(opened: Opened, name: str) -> str:
    """The ability asked for, or the first of those that need no further training."""
    usable = [each for each in opened.card.abilities if hasattr(opened.kind, each)]
    if not usable:
        raise UserError(f"{opened.card.slug} predicts nothing: pretrial export gives its model")
    if name in opened.card.abilities and name not in usable:
        raise UserError(
            f"{opened.card.slug} can {name!r} only once it is fine-tuned: pretrial eval RUN --task"
            " finetune does so with some of the labels in the data"
        )
    if name and name not in usable:
        raise UserError(
            f"{opened.card.slug} cannot {name!r} as it is; the nearest: {nearest(name, usable)}"
        )
    return name or usable[0]


def _rows(ability: str, results: Tensor | Iterable[Row]) -> Iterable[Row]:
    """What an ability gives as rows; it may give one tensor for all examples, [N, ...]."""
    if isinstance(results, Tensor):
        return ({ability: each.tolist()} for each in results)
    return results
