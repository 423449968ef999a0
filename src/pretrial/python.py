"""The commands as functions of Python; `docs/python.md` shows them.

Options have the names of the command line, with underscores: `--held-out-ratio 0.2` is
`held_out_ratio=0.2`. What is wrong with them or with the data is raised as a `UserError`, whose
message names the mend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from pretrial.api.opening import Opened
    from pretrial.evaluate.result import Result
    from pretrial.train.callbacks import OnNumbers, OnStageEnd
    from pretrial.train.run import Run

#: A file, a folder, the name of a data set or "builtin:NAME", several of them, or rows: mappings by
#: the names of their fields, or a data frame.
Data = str | Path | Sequence[str] | Sequence[Path] | Sequence[Mapping[str, Any]] | Any

_ROWS = Path("runs/rows")


def train(
    slug: str,
    data: Data,
    *,
    on_log: OnNumbers | None = None,
    on_evaluate: OnNumbers | None = None,
    on_stage_end: OnStageEnd | None = None,
    **options: Any,
) -> Run:
    """Trains a method, as `pretrial train` does; the same call again goes on where it was stopped.

    Args:
        slug: of the method.
        data: to train on. Rows in memory are kept in runs/rows, so that the run can go on and be
            repeated.
        on_log: called with each row of metrics, its stage and its step; see `Callbacks`.
        on_evaluate: called with the numbers of each evaluation.
        on_stage_end: called with each stage that ends and the module that it trained.
        options: of the command and of the method, such as `out`, `init`, `budget` or `lr`.

    Returns:
        The run: its folder, its `metrics`, and what was spent.

    Raises:
        UserError: an option or the data is not what the method takes; or what the user can mend
            went wrong, such as a NaN.
        Stopped: by Ctrl-C; all that is needed to go on is on the disk.
    """
    from pretrial.cli.train import train as command
    from pretrial.train.callbacks import Callbacks

    callbacks = Callbacks(on_log, on_evaluate, on_stage_end)
    run = command([slug, *_data_words(data), *_words(options)], callbacks)
    if run is None:
        raise UserError("dry_run trains nothing: call pretrial train --dry-run on the command line")
    return run


def finetune(model: str | Path | Run | Model, data: Data, **options: Any) -> Model:
    """Puts a head on a model and trains both on labelled rows, as `pretrial finetune` does.

    Args:
        model: a run, or a checkpoint by its folder or name.
        data: labelled rows.
        options: of the command, such as `task`, `out` or `held_out`.

    Raises:
        UserError: the data or the model do not suit the task.
    """
    from pretrial.cli.finetune import finetune as command

    return load(command([_place(model), *_data_words(data), *_words(options)]))


def load(model: str | Path | Run) -> Model:
    """The model of a run, or of a checkpoint by its folder or name.

    Raises:
        UserError: it is neither, or the run is not finished.
    """
    from pretrial.api.opening import open_model

    return Model(open_model(_place(model)))


def trial(slug: str | Sequence[str], **options: Any) -> dict[str, Any] | None:
    """Puts a method on trial against its baseline, or several methods side by side.

    Args:
        slug: of the method; several are compared, as `pretrial compare` does.
        options: of the command and of the method's trial, such as `data`, `seeds` or `budget`.

    Returns:
        The record, as it is written under `out`, `results/` by default; None with `scale`.

    Raises:
        UserError: an option does not fit, or a run failed.
    """
    from pretrial.cli import trials

    slugs = [slug] if isinstance(slug, str) else list(slug)
    words = _data_words(options.pop("data")) if "data" in options else []
    command = trials.trial if len(slugs) == 1 else trials.compare
    return command([*slugs, *words, *_words(options)])


class Model:
    """A trained model with what it is able to do.

    Attributes:
        source: where it was found.
        method: the model itself, in eval mode.
    """

    def __init__(self, opened: Opened) -> None:
        self.source = opened.source
        self.method = opened.load()
        self._opened = opened

    def __repr__(self) -> str:
        return f"<{type(self.method).__name__} of {self.source}: {', '.join(self.abilities)}>"

    @property
    def abilities(self) -> list[str]:
        """What `predict` can be asked for; the first by default."""
        names = self._opened.card.abilities
        return [name for name in names if hasattr(self.method, name)]

    def predict(self, data: Data, *, ability: str = "", **options: Any) -> list[dict[str, Any]]:
        """A row of results for each row, as `pretrial predict` writes them.

        Args:
            data: rows, or texts for a model that reads texts; or where they are.
            ability: see `abilities`.
            options: of the ability.

        Raises:
            UserError: the model has no such ability, or cannot read the data.
        """
        name = ability or (self.abilities or [""])[0]
        if name not in self.abilities:
            found = nearest(name, self.abilities) if self.abilities else "none"
            raise UserError(f"{self!r} cannot {name!r}; the nearest: {found}")
        results = self._apply(name, data, options)
        if hasattr(results, "tolist"):
            return [{name: value} for value in results.tolist()]
        return list(results)

    def encode(self, data: Data, **options: Any) -> Tensor:
        """One vector a row, [N, d].

        Raises:
            UserError: the model has no vectors, or cannot read the data.
        """
        if not hasattr(self.method, "encode"):
            raise UserError(f"{self!r} has no vectors: it cannot encode")
        return self._apply("encode", data, options)

    def generate(self, data: Data, **options: Any) -> list[str]:
        """The text that the model writes for each row; of several samples the first.

        Raises:
            UserError: the model writes nothing, or cannot read the data.
        """
        rows = self.predict(data, ability="generate", **options)
        return [row["text"] if "text" in row else row["texts"][0] for row in rows]

    def evaluate(self, data: Data, *, task: str = "", **options: Any) -> Result:
        """Metrics on a task with 95 % intervals over the rows, as `pretrial eval` measures them.

        Args:
            data: rows, or where they are.
            task: its name; a fine-tuned model has one of its own.
            options: of the task.

        Raises:
            UserError: the model cannot do the task, or the rows do not suit it.
        """
        from pretrial.api.measuring import beside_floors
        from pretrial.evaluate import tasks

        own = getattr(self._opened.kind, "default_task", "")
        name = task or own
        if not name:
            able = ", ".join(tasks.tasks_for(self.method)) or "none"
            raise UserError(f"evaluate needs a task; {self!r} can do {able}")
        rows = _rows(data)
        result = tasks.evaluate(name, self.method, rows, **options)
        return beside_floors(self._opened, rows, result) if name == own else result

    def export(self, to: str | Path, **options: Any) -> Path:
        """Writes a folder that transformers loads, as `pretrial export` does.

        Raises:
            UserError: the folder exists.
        """
        from pretrial.cli.export import export as command

        command([self.source, *_words({"to": to, **options})])
        return Path(to)

    def _apply(self, ability: str, data: Data, options: Mapping[str, Any]) -> Any:
        import torch

        with torch.no_grad():
            results = getattr(self.method, ability)(self.method.read(_rows(data)), **options)
            return list(results) if isinstance(results, Iterator) else results


def _place(model: str | Path | Run | Model) -> str:
    """The folder or the name of a model."""
    return str(getattr(model, "folder", getattr(model, "source", model)))


def _rows(data: Data) -> Any:
    """Rows in memory; texts become rows with the field `text`."""
    from pretrial.api.data import Source, load
    from pretrial.data.rows import Rows

    if isinstance(data, str | Path):
        return load(Source((str(data),)))
    rows = data.to_dict(orient="records") if hasattr(data, "to_dict") else list(data)
    if not rows:
        raise UserError("there are no rows: give some, or the file that has them")
    return Rows(({"text": row} if isinstance(row, str) else dict(row) for row in rows), "the rows")


def _data_words(data: Data) -> list[str]:
    """Where the data is, as options; rows in memory are written to a file first."""
    if isinstance(data, str | Path):
        return ["--data", str(data)]
    if not hasattr(data, "to_dict") and all(isinstance(each, str | Path) for each in data):
        return ["--data", *map(str, data)]
    return ["--data", str(_kept(_rows(data)))]


def _kept(rows: Sequence[Mapping[str, Any]]) -> Path:
    """A file of JSON lines with the rows, the same for the same rows."""
    from pretrial.api.runs import write_text
    from pretrial.data.as_json import as_json_line

    text = "".join(as_json_line(row) + "\n" for row in rows)
    path = _ROWS / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
    if not path.exists():
        write_text(path, text)
    return path


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of the command line; those that are None are left out."""
    from pretrial.cli.options import words_of

    words: list[str] = []
    for name, value in options.items():
        if isinstance(value, Mapping):  # such as fields
            value = [f"{ours}={theirs}" for ours, theirs in value.items()]
        words += [] if value is None else words_of(name, value)
    return words
