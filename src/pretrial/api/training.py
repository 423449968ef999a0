"""Training: rows in, a folder with a trained model out; the same call again goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrial import discover, status
from pretrial.api import data, on_disk, runs
from pretrial.checkpoints.keys import stored_dtype
from pretrial.data.reading.memory import check_fits
from pretrial.data.rows import Row
from pretrial.data.splits import hold_out
from pretrial.environment import commit, environment
from pretrial.errors import UserError
from pretrial.plain import plain
from pretrial.train import checkpoint, loop
from pretrial.train.budget import Budget
from pretrial.train.callbacks import Callbacks
from pretrial.train.extension import Extensions, last_stage
from pretrial.train.lora import (
    NO_LORA,
    LoraOptions,
    adapt_method,
    adapted_export,
    merge,
    save_adapter,
)
from pretrial.train.method import Method
from pretrial.train.run import Run, seed_everything, seed_of


@dataclass(frozen=True)
class TrainingOptions:
    """What decides what is learnt; a run that goes on must be given the same.

    Attributes:
        init: name or folder of the checkpoint to start from; from scratch without one.
        held_out: data kept aside for evaluation; without it a part of the data is.
        held_out_split: of that data, where it has several.
        held_out_ratio: share of the data that is kept aside where no --held-out is given.
        budget: how much to train, such as 10min, 2h, 300steps, 3epochs or 2e6tokens.
        seed: of all random choices.
        dtype: bf16 computes in bfloat16 where that is safe; weights stay fp32.
    """

    init: str = ""
    held_out: str = ""
    held_out_split: str = ""
    held_out_ratio: float = 0.1
    budget: str = ""
    seed: int = 0
    dtype: Literal["fp32", "bf16"] = "fp32"

    def parsed_budget(self) -> Budget | None:
        """The budget, None where none was given."""
        return Budget.parse(self.budget) if self.budget else None


@dataclass(frozen=True)
class RunOptions:
    """How and where the work is done.

    Attributes:
        out: folder of the run.
        device: cpu, cuda, or auto.
        compile: compile the losses with torch.compile.
        shard: cut weights, gradients and optimiser states into parts over the processes of
            torchrun instead of copying them.
        trackers: where metrics go beside metrics.jsonl, such as tensorboard.
        dry_run: print stages, shapes, parameters and memory; train nothing.
        data_on_disk: leave the data on the disk and read rows when they are needed. The index of
            the rows is kept in the run's folder.
        overwrite: train anew where --out holds a run. That one is kept beside, as OUT.replaced,
            until the new one is finished.
        extend: train a finished run for so much longer, such as 5min or 200steps. The learning rate
            rises again to half of its peak, and falls.
    """

    out: Path
    device: str = "auto"
    compile: bool = False
    shard: bool = False
    trackers: tuple[str, ...] = ()
    dry_run: bool = False
    data_on_disk: bool = False
    overwrite: bool = False
    extend: str = ""

    def __post_init__(self) -> None:
        if self.extend:
            Budget.parse(self.extend)
        if self.extend and (self.overwrite or self.dry_run):
            other = "overwrite" if self.overwrite else "dry-run"
            raise UserError(f"--extend trains a finished run on: leave --{other} out")

    @property
    def goes_on(self) -> bool:
        """Whether `out` holds a run to go on with; a dry run passes over one to be replaced."""
        return runs.has_begun(self.out) and not (self.overwrite and self.dry_run)


@dataclass(frozen=True)
class Examples:
    """What a method made of the data.

    Attributes:
        rows: raw, to train on.
        examples: made of them.
        held_out: examples to evaluate on.
    """

    rows: Sequence[Any]
    examples: Sequence[Any]
    held_out: Sequence[Any]


@dataclass(frozen=True)
class Prepared:
    """A run before its first step: what was asked for, checked, and the examples.

    Attributes:
        loaded: the method.
        config: its settings.
        training: what decides what is learnt.
        record: what `run.json` holds.
        examples: to train on.
        held_out: examples to evaluate on.
        lora: adapters that are trained in place of a checkpoint; None trains it whole.
        repeat: text of `run.yaml`, from which the command line trains the same again; "" for none.
    """

    loaded: discover.Loaded
    config: Any
    training: TrainingOptions
    record: runs.Record
    examples: Sequence[Any]
    held_out: Sequence[Any]
    lora: LoraOptions | None = None
    repeat: str = ""

    def build(self) -> Method:
        """The method, the same in every process and at every start."""
        seed_everything(seed_of(self.training.seed, "build"))
        with status.task("building the model"):
            method = self.loaded.method.build(
                self.config, source=self.training.init or None, data=self.examples
            )
        if self.lora is not None:
            adapt_method(method, self.lora)
        return method

    def train(self, options: RunOptions, callbacks: Callbacks | None = None) -> Run:
        """Trains to the end and saves the model; a run that was stopped goes on.

        Args:
            options: how and where the work is done.
            callbacks: what a caller is told meanwhile.
        """
        method = self.build()
        runs.make_folder(options.out)
        run = Run(
            options.out,
            data=self.examples,
            held_out=self.held_out,
            budget=self.training.parsed_budget(),
            seed=self.training.seed,
            device=runs.device(options.device),
            trackers=options.trackers,
            callbacks=callbacks,
        )
        if options.extend or not runs.has_begun(options.out):
            run.world.on_first(lambda: self._write(options.out))
        if self.record.extensions:
            budgets = tuple(map(Budget.parse, self.record.extensions))
            run.extensions = Extensions(last_stage(options.out), budgets)
        loop.train(
            method,
            run,
            autocast="bf16" if self.training.dtype == "bf16" else None,
            compile=options.compile,
            shard=options.shard,
            lora=self.lora,
        )
        with status.task("saving the model"):
            run.world.on_first(lambda: _end(method, run, self.training.init))
        return run

    def _write(self, out: Path) -> None:
        """What tells of the run; an extension leaves the file that repeats it."""
        if self.repeat and not runs.has_begun(out):
            runs.write_text(out / runs.REPEAT, self.repeat)
        self.record.write(out)


def record_of(
    loaded: discover.Loaded,
    config: Any,
    source: data.Source,
    training: TrainingOptions,
    preset: str = "",
    lora: LoraOptions = NO_LORA,
) -> runs.Record:
    """The record of a run that is yet to begin; the numbers of examples are still 0."""
    return runs.Record(
        slug=loaded.card.slug,
        config=plain(config),
        arguments=source.arguments() | plain(training) | (plain(lora) if lora.lora_rank else {}),
        num_examples=0,
        num_held_out=0,
        environment=environment(),
        commit=commit(),
        init_dtype=stored_dtype(training.init) if training.init else "",
        defaults=plain(loaded.config()) | plain(data.Source(())) | plain(TrainingOptions()),
        preset=preset,
    )


def prepare(
    loaded: discover.Loaded,
    config: Any,
    source: data.Source,
    training: TrainingOptions,
    options: RunOptions,
    lora: LoraOptions = NO_LORA,
    *,
    preset: str = "",
    found: Examples | None = None,
) -> Prepared:
    """Reads the data, and makes sure that a run which has begun goes on as it began.

    Args:
        loaded: the method.
        config: its settings.
        source: the data.
        training: what decides what is learnt.
        options: how and where the work is done.
        lora: adapters that are trained in place of the checkpoint.
        preset: where the settings' defaults come from, for the record.
        found: what `read` gave, where the data was read before.

    Raises:
        UserError: the data cannot be read, `options.out` holds another run, or there is nothing
            that adapters could be for.
    """
    lora.check(training.init)
    record = record_of(loaded, config, source, training, preset, lora)
    older = runs.Record.read(options.out) if options.goes_on else None
    if older is not None:
        record.check_options(older, options.out)
    elif options.extend:
        raise UserError(f"{options.out} holds no run to extend: give --out FOLDER of one")
    found = found or read(loaded, source, training, options)
    examples, held_out = found.examples, found.held_out
    record = dataclasses.replace(record, num_examples=len(examples), num_held_out=len(held_out))
    if older is not None:
        record.check_data(older, options.out)
        record = older.extended(options.extend, options.out) if options.extend else older
    adapters = lora if lora.lora_rank else None
    return Prepared(loaded, config, training, record, examples, held_out, adapters)


def read(
    loaded: discover.Loaded, source: data.Source, training: TrainingOptions, run_options: RunOptions
) -> Examples:
    """Examples to train on, and those held out.

    Raises:
        UserError: the data cannot be read, or leaves no example.
    """
    ratio = 0.0 if training.held_out else training.held_out_ratio
    parts = _sides(source, run_options, "data", ratio, training.seed)
    aside = data.join(source, [side for _, side in parts], weighted=False)
    if training.held_out:
        other = dataclasses.replace(
            source, data=(training.held_out,), split=training.held_out_split
        )
        aside = _sides(other, run_options, "held-out", 0.0, training.seed)[0][0]
    rows = data.join(source, [kept for kept, _ in parts])
    with status.task("making examples of the rows"):
        examples = data.read(loaded.method, rows, source)
    if not examples:
        raise UserError(f"{source.name} leaves no example to train on: give more data")
    return Examples(rows, examples, data.read(loaded.method, aside, source) if aside else [])


def _sides(
    source: data.Source, options: RunOptions, name: str, held_out_ratio: float, seed: int
) -> list[tuple[Sequence[Row], Sequence[Row]]]:
    """Of each source the rows to train on and those held out."""
    sides: list[tuple[Sequence[Row], Sequence[Row]]] = []
    for number, one in enumerate(data.each_of(source)):
        if options.data_on_disk:
            index = f"{name}-{number + 1}" if number else name
            sides.append(on_disk.load(one, options.out, index, held_out_ratio, seed))
        else:
            if not one.limit:
                check_fits(one.name, data.stream_one(one))
            rows = data.load_one(one)
            sides.append(hold_out(rows, held_out_ratio, seed) if held_out_ratio else (rows, []))
    return sides


def _save(method: Method, run: Run, init: str) -> None:
    """Writes the model, and beside it what an adapter has learned."""
    model, adapter = run.folder / runs.MODEL, run.folder / runs.ADAPTER
    if _is_newest(model, run.folder):
        return  # a finished run that is started again ends with the same model
    network = adapted_export(method)
    if network is not None and not _is_newest(adapter, run.folder):
        try:
            with checkpoint.new_folder(adapter) as partial:
                save_adapter(network, partial, init)
        except UserError as error:  # the model is all there without it
            run.say(f"{runs.ADAPTER} is left out: {error}")
    merge(method)
    with checkpoint.new_folder(model) as partial:
        method.save(partial)


def _end(method: Method, run: Run, init: str) -> None:
    """Saves the model, what was spent on it, and the page of the run."""
    _save(method, run, init)
    runs.leave_page(run)


def _is_newest(folder: Path, run: Path) -> bool:
    """Whether a folder is there and younger than all stages of its run, extensions included."""
    ends = [path.stat().st_mtime_ns for path in run.glob("stages/*/done")]
    return folder.exists() and folder.stat().st_mtime_ns >= max(ends, default=0)
