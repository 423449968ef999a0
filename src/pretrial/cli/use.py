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

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import torch
from torch import Tensor

from pretrial import discover
from pretrial.api import data, runs, trials
from pretrial.cli import options
from pretrial.errors import UserError, nearest
from pretrial.files import whole_file
from pretrial.train.method import Method

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
    """Applies an ability of a trained run to new data."""
    word, rest = options.first_word(argv, "pretrial predict", "the folder of a run")
    prog, folder = f"pretrial predict {word}", trials.run_of(Path(word))
    record = runs.Record.read(folder)
    loaded = discover.load(record.slug)
    if rest and not rest[0].startswith("-"):
        raise UserError(f"{prog} takes no word {rest[0]!r}: an ability is named by --ability")
    name = _ability(loaded, options.peek(Ability, rest, prog=prog).ability)
    function = getattr(loaded.method, name)
    parts = options.merge(
        source=data.Source,
        ability=Ability,
        output=Output,
        options=options.from_signature(function, name.title()),
    )
    parsed: Any = options.parse(parts, rest, prog=prog, description=f"{name}: {record.slug}")
    runs.device(parsed.output.device)  # refused before the data are read, if it is not there
    examples = data.read(loaded.method, data.load(parsed.source), parsed.source)
    method = parsed.output.place(runs.load_method(record, folder))
    with torch.no_grad(), _results(parsed.output.out) as out:
        for row in _rows(name, getattr(method, name)(examples, **vars(parsed.options))):
            print(json.dumps(row, ensure_ascii=False), file=out, flush=True)


def evaluate(argv: Sequence[str]) -> None:
    """Measures a trained run on a task, with intervals over the items."""
    from pretrial.evaluate import tasks

    word, rest = options.first_word(argv, "pretrial eval", "the folder of a run")
    prog, folder = f"pretrial eval {word}", trials.run_of(Path(word))
    record = runs.Record.read(folder)
    name = options.peek(Task, rest, prog=prog).task
    if not name:
        able = tasks.tasks_for(discover.load(record.slug).method)
        raise UserError(f"{prog} needs --task; {record.slug} can do {', '.join(able) or 'none'}")
    task = tasks.find_task(name)
    parts = options.merge(
        task=Task,
        source=data.Source,
        output=Output,
        options=options.from_signature(task.function, "Options"),
    )
    parsed: Any = options.parse(parts, rest, prog=prog, description=f"{task.name}: {task.summary}")
    runs.device(parsed.output.device)
    rows = data.load(parsed.source)
    method = parsed.output.place(runs.load_method(record, folder))
    rows = data.readable(method, rows, parsed.source, parsed.options)
    result = tasks.evaluate(task.name, method, rows, **vars(parsed.options))
    width = max(map(len, result.metrics))
    for metric, interval in result.metrics.items():
        print(
            f"{metric:<{width}}  {interval.value:.4g}"
            f"  (95 %: {interval.low:.4g} to {interval.high:.4g})"
        )
    for note, value in result.notes.items():
        print(f"{note}: {value:.4g}" if isinstance(value, float) else f"{note}: {value}")
    if parsed.output.out:
        text = json.dumps({"task": task.name, "run": str(folder), **result.to_dict()}, indent=1)
        runs.write_text(Path(parsed.output.out), text + "\n")


def _ability(loaded: discover.Loaded, name: str) -> str:
    """The ability asked for, or the first of those that need no further training."""
    usable = [each for each in loaded.card.abilities if hasattr(loaded.method, each)]
    if not usable:
        raise UserError(f"{loaded.card.slug} predicts nothing: pretrial export gives its model")
    if name in loaded.card.abilities and name not in usable:
        raise UserError(
            f"{loaded.card.slug} can {name!r} only once it is fine-tuned: pretrial eval RUN --task"
            " finetune does so with some of the labels in the data"
        )
    if name and name not in usable:
        raise UserError(
            f"{loaded.card.slug} cannot {name!r} as it is; the nearest: {nearest(name, usable)}"
        )
    return name or usable[0]


def _rows(ability: str, results: Tensor | Iterable[Row]) -> Iterable[Row]:
    """What an ability gives as rows; it may give one tensor for all examples, [N, ...]."""
    if isinstance(results, Tensor):
        return ({ability: each.tolist()} for each in results)
    return results


@contextlib.contextmanager
def _results(path: str) -> Iterator[TextIO]:
    """The standard output, or a file that appears under its name when all is written."""
    if not path:
        yield sys.stdout
        return
    target = Path(path)
    runs.make_folder(target.parent)
    with whole_file(target) as file:
        yield file
