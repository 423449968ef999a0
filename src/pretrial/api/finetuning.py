"""Fine-tuning a run or a checkpoint on labelled rows; the same call again goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pretrial.api import data, runs
from pretrial.api.opening import Opened
from pretrial.bases.plain import labelled
from pretrial.bases.plain.config import FinetuneConfig, FinetuneOptions
from pretrial.bases.plain.finetuned import Finetuned
from pretrial.bases.plain.labelled import Labelled
from pretrial.bases.plain.starts import modality_of
from pretrial.data.rows import Row
from pretrial.environment import commit, environment
from pretrial.errors import UserError
from pretrial.plain import plain
from pretrial.train import checkpoint, loop
from pretrial.train.run import Run, seed_everything, seed_of


@dataclass(frozen=True)
class LearningOptions:
    """What is learnt from, beside the data; a run that goes on must be given the same.

    Attributes:
        held_out: data kept aside, which chooses the learning rate and the epoch; without it a part
            of the data is.
        held_out_split: of that data, where it has several.
        held_out_ratio: share of the data that is kept aside where no --held-out is given.
        seed: of all random choices.
    """

    held_out: str = ""
    held_out_split: str = ""
    held_out_ratio: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class PlaceOptions:
    """Where the work is done.

    Attributes:
        out: folder of the run.
        device: cpu, cuda, or auto.
        dtype: bf16 computes in bfloat16 where that is safe; weights stay fp32.
    """

    out: Path = Path("runs/finetuned")
    device: str = "auto"
    dtype: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class Finished:
    """A model that was fine-tuned.

    Attributes:
        method: the model.
        run: with what was spent, by purpose.
        num_learnt: rows that were learnt from.
        num_held_out: rows that chose the learning rate and the epoch.
    """

    method: Finetuned
    run: Run
    num_learnt: int
    num_held_out: int


def finetune(
    opened: Opened,
    source: data.Source,
    options: FinetuneOptions,
    learning: LearningOptions,
    place: PlaceOptions,
    *,
    numbered: bool = False,
) -> Finished:
    """Puts a head on a model, trains both on labelled rows, and saves the result as a run.

    Args:
        opened: what to start from.
        source: the labelled rows.
        options: how it learns.
        learning: what is learnt from.
        place: where the work is done.
        numbered: whether `place.out` may become another folder beside it, see `runs.folder_for`.

    Raises:
        UserError: the data or the model do not suit the task, or `place.out` holds another run.
    """
    device = runs.device(place.device)
    start = opened.load()
    config = FinetuneConfig(**vars(options), modality=modality_of(start))
    record = runs.Record(
        slug=runs.FINETUNED,
        config=plain(config),
        arguments={"init": opened.source} | source.arguments() | plain(learning),
        num_examples=0,
        num_held_out=0,
        environment=environment(),
        commit=commit(),
    )
    if numbered:
        out, told = runs.folder_for(place.out, lambda older: record.difference(older) is None)
        place = dataclasses.replace(place, out=out)
        if told:
            print(told)
    older = runs.Record.read(place.out) if runs.has_begun(place.out) else None
    if older is not None:
        record.check_options(older, place.out)
    learn, aside = _read(source, learning, config)
    record = dataclasses.replace(record, num_examples=len(learn), num_held_out=len(aside))
    if older is not None:
        record.check_data(older, place.out)
    seed_everything(seed_of(learning.seed, "build"))
    method = Finetuned.begin(config, start, labelled.class_names([*learn, *aside], config.task))
    del start
    runs.make_folder(place.out)
    run = Run(place.out, data=learn, held_out=aside, seed=learning.seed, device=device)
    if older is None:
        run.world.on_first(lambda: record.write(place.out))
    loop.train(method, run, autocast="bf16" if place.dtype == "bf16" else None)
    run.world.on_first(lambda: _save(method, run))
    return Finished(method.eval(), run, len(learn), len(aside))


def _read(
    source: data.Source, learning: LearningOptions, config: FinetuneConfig
) -> tuple[Sequence[Labelled], Sequence[Labelled]]:
    """Examples to learn from, and those held out; all of them have labels."""
    rows: Sequence[Row] = data.load(source)
    aside: Sequence[Row]
    if learning.held_out:
        other = dataclasses.replace(
            source, data=(learning.held_out,), split=learning.held_out_split
        )
        aside = data.load(other)
    else:
        labelled.check_targets(_examples(rows, config, source), rows, config.task)
        rows, aside = labelled.part(rows, config.task, learning.held_out_ratio, learning.seed)
    learn = _examples(rows, config, source)
    labelled.check_targets(learn, rows, config.task)
    held_out = [each for each in _examples(aside, config, source) if each.target is not None]
    if not held_out:
        raise UserError(
            "no row is held out, by which the learning rate and the epoch are chosen: raise"
            " --held-out-ratio, or name other rows with --held-out"
        )
    return [each for each in learn if each.target is not None], held_out


def _examples(
    rows: Sequence[Row], config: FinetuneConfig, source: data.Source
) -> Sequence[Labelled]:
    reader = labelled.RowReader(config.task, config.modality)
    return data.read(reader, rows, source)


def _save(method: Finetuned, run: Run) -> None:
    """Saves the model, what was spent on it, and the page of the run."""
    folder = run.folder / runs.MODEL
    if not folder.exists():  # a finished run that is started again ends with the same model
        with checkpoint.whole_folder(folder) as partial:
            method.save(partial)
    runs.leave_page(run)
