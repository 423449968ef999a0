"""Fine-tuning: text to text, several tasks at once, or classes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrial.data.reading.mixture import Mixture, temperature_weights
from pretrial.errors import UserError
from pretrial.methods.code.codet5.config import Config
from pretrial.methods.code.codet5.data import Example
from pretrial.methods.code.codet5.network import EosClassifier, Texts
from pretrial.models.architectures.language_model import TextToText
from pretrial.train.checkpoint import whole_folder
from pretrial.train.held_out import held_out_losses
from pretrial.train.run import Run
from pretrial.train.stage import EarlyStop, Stage

Pair = tuple[str, str]
Save = Callable[[Path], None]


class Tasks(TextToText):
    """Text to text on several tasks at once, each stopped for itself.

    A task whose held-out loss has not fallen for `patience` measurements is closed: its places in
    the data go to the open ones. The last open one stays open. The best weights of each are kept
    in a folder of its name.

    Args:
        writer: model, tokenizer and lengths.
        names: of the tasks.
        patience: see above; 0 closes none.

    Attributes:
        best: the lowest held-out loss of each task so far.
        waited: measurements since then.
    """

    best: Tensor
    waited: Tensor

    def __init__(self, writer: TextToText, names: Sequence[str], patience: int) -> None:
        super().__init__(writer.network, writer.tokenizer, writer.max_source, writer.max_target)
        self.names = list(names)
        self.patience = patience
        self.register_buffer("best", torch.full((len(names),), torch.inf))
        self.register_buffer("waited", torch.zeros(len(names), dtype=torch.long))

    def open_tasks(self) -> list[int]:
        """Places of the tasks that are still learned."""
        waited = self.waited.tolist()
        chosen = [i for i, times in enumerate(waited) if not self.patience or times < self.patience]
        return chosen or [min(range(len(waited)), key=lambda i: waited[i])]

    def see(self, losses: Sequence[float], folder: Path, save: Save) -> None:
        """Takes the held-out loss of each task, and keeps the weights of those that fell.

        Args:
            losses: one a task.
            folder: where the best weights are kept.
            save: writes the method into a folder; called in the first process alone.
        """
        still_open = self.open_tasks()
        for place in still_open:
            if math.isinf(losses[place]):  # nothing held out: it is never closed
                continue
            if losses[place] < self.best[place]:
                self.best[place], self.waited[place] = losses[place], 0
                target = folder / (self.names[place].replace("/", "-") or "no prefix")
                shutil.rmtree(target, ignore_errors=True)
                with whole_folder(target) as partial:
                    save(partial)
            else:
                self.waited[place] += 1


class TaskMixture(Mixture):
    """Pairs of several tasks in proportion to size ** alpha; closed tasks give way to open ones."""

    def __init__(self, parts: Sequence[Sequence[Any]], alpha: float, tasks: Tasks) -> None:
        super().__init__(parts, temperature_weights([len(part) for part in parts], alpha))
        self.tasks = tasks

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part, number = self.where(index)
        still_open = self.tasks.open_tasks()
        if part not in still_open:
            part = still_open[index % len(still_open)]
            number = index % len(self.parts[part])
        return self.parts[part][number]


def generation(writer: TextToText, config: Config, run: Run, save: Save) -> Stage:
    """Fine-tuning on pairs of one task, or of several.

    Args:
        writer: what is trained.
        config: the settings.
        run: with the examples.
        save: writes the method into a folder, for the best weights of each task.
    """
    _check_patience(config, run)
    by_task, held_out = _pairs_by_task(run.data), _pairs_by_task(run.held_out)
    if len(by_task) == 1:
        (pairs,) = by_task.values()
        rest = [pair for part in held_out.values() for pair in part]
        return _stopping_stage("generate", writer, pairs, config, run, rest)
    tasks = Tasks(writer, list(by_task), config.patience)
    mixture = TaskMixture(list(by_task.values()), config.alpha, tasks)
    shares = [count / len(mixture) for count in mixture.counts]
    told = ", ".join(f"{n or 'no prefix'} {s:.0%}" for n, s in zip(by_task, shares, strict=True))
    run.say(f"tasks: {told}")
    known = {name: held_out[name] for name in by_task if name in held_out}
    size = min(config.micro_batch_size or config.batch_size, 64)
    evaluate = partial(_measure_tasks, tasks, known, size, run, save) if known else None
    return Stage.of("generate", tasks, mixture, config, budget=run.budget, evaluate=evaluate)


def classification(
    head: EosClassifier | None, labels: Sequence[str], config: Config, run: Run
) -> Stage:
    """Fine-tuning on labelled code, or on labelled pairs; what has no label is left out."""
    if head is None or len(labels) < 2:
        raise UserError(
            f"--task {config.task} needs a field 'label' with two classes or more: name it with"
            " --fields label=OTHER"
        )
    place = {label: number for number, label in enumerate(labels)}

    def pairs(examples: Sequence[Example], part: str) -> list[tuple[Texts, int]]:
        num_rows, examples = len(examples), [each for each in examples if each.label]
        if len(examples) < num_rows:
            run.say(f"{num_rows - len(examples)} {part} rows without a label are left out")
        unknown = {e.label for e in examples} - place.keys()
        if unknown:
            raise UserError(
                f"held-out data has labels that training data lacks: {', '.join(sorted(unknown))};"
                " give more data for training, or other held-out data"
            )
        texts = texts_of(examples, config.task)
        return [(text, place[e.label]) for text, e in zip(texts, examples, strict=True)]

    _check_patience(config, run)
    return _stopping_stage(
        config.task, head, pairs(run.data, "training"), config, run, pairs(run.held_out, "held-out")
    )


def texts_of(examples: Sequence[Example], task: str) -> Sequence[Texts]:
    """What a classifier reads: a text, or two of them.

    Raises:
        UserError: the second is missing.
    """
    if task == "classify":
        return [example.source for example in examples]
    if not all(example.other for example in examples):
        raise UserError(
            "--task compare needs a field 'other' with the second piece of code: name it with"
            " --fields other=OTHER"
        )
    return [(example.source, example.other) for example in examples]


def _check_patience(config: Config, run: Run) -> None:
    if config.patience and not len(run.held_out):
        raise UserError("patience needs held-out data: give --held-out or a larger ratio of it")


def _stopping_stage(
    name: str, module: Any, data: Sequence[Any], config: Config, run: Run, held_out: Sequence[Any]
) -> Stage:
    """A stage that ends early with `patience`."""
    stop = EarlyStop("loss", config.patience) if config.patience else None
    how: dict[str, Any] = {"budget": run.budget, "held_out": held_out, "early_stop": stop}
    return Stage.of(name, module, data, config, **how)


def _pairs_by_task(examples: Sequence[Example]) -> dict[str, list[Pair]]:
    """Sources and targets by control prefix, prefixes in the order of the data.

    Raises:
        UserError: a target is missing.
    """
    found: dict[str, list[Pair]] = {}
    for number, example in enumerate(examples):
        if not example.target:
            raise UserError(
                f"--task generate needs a field 'target' and example {number} has none: name it"
                " with --fields target=OTHER"
            )
        found.setdefault(example.task, []).append((example.source, example.target))
    return found


def _measure_tasks(
    tasks: Tasks, held_out: dict[str, list[Pair]], batch_size: int, run: Run, save: Save
) -> dict[str, float]:
    """The held-out loss of each task; the best weights of each are kept in the run's folder."""
    losses = {
        name: held_out_losses(tasks, pairs, batch_size)["loss"] for name, pairs in held_out.items()
    }
    every = [losses.get(name, math.inf) for name in tasks.names]
    run.world.on_first(partial(tasks.see, every, run.folder / "best", save))
    tasks.waited.copy_(run.world.share(tasks.waited))
    tasks.best.copy_(run.world.share(tasks.best))
    named = {f"{name or 'no prefix'}/loss": loss for name, loss in losses.items()}
    return {"loss": sum(losses.values()) / len(losses), **named}
