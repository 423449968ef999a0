"""`train`: rows in, a folder with a trained model out; the same command again goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from pretrial import discover
from pretrial.checkpoints.keys import stored_dtype
from pretrial.cli import data, on_disk, options, runs
from pretrial.cli.dry_run import Target, dry_run
from pretrial.data.reading.memory import check_fits
from pretrial.data.splits import hold_out
from pretrial.environment import commit, environment
from pretrial.errors import UserError
from pretrial.plain import plain
from pretrial.train import checkpoint, loop
from pretrial.train.budget import Budget, Spent
from pretrial.train.hardware import Machine
from pretrial.train.method import Method
from pretrial.train.run import Run, seed_everything, seed_of


@dataclass(frozen=True)
class Preset:
    """Where the defaults of the method's options come from.

    Attributes:
        tiny: sizes that train in seconds, to try a data set.
        small: sizes that train in minutes on a small machine, as the trials use them.
        paper: the published configuration of that name.
    """

    tiny: bool = False
    small: bool = False
    paper: str = ""


@dataclass(frozen=True)
class TrainingOptions:
    """What decides what is learnt; a run that goes on must be given the same.

    Attributes:
        init: name or folder of the checkpoint to start from; from scratch without one.
        held_out: data kept aside for evaluation; without it a part of the data is.
        held_out_split: of that data, where it has several.
        held_out_ratio: share of the data that is kept aside where no --held-out is given.
        budget: how much to train, such as 10m, 300steps or 2e6tokens.
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
    """

    out: Path
    device: str = "auto"
    compile: bool = False
    shard: bool = False
    trackers: tuple[str, ...] = ()
    dry_run: bool = False
    data_on_disk: bool = False


@dataclass(frozen=True)
class Hardware:
    """Devices that --dry-run plans for, before they are paid for.

    Attributes:
        gpus: number of all of them; 0 plans for none.
        nodes: that they stand in.
        gpu: which ones; docs/scale.md has their table.
        utilisation: share of their peak that products reach.
    """

    gpus: int = 0
    nodes: int = 1
    gpu: str = "a100-80gb"
    utilisation: float = 0.4

    def target(self, training: TrainingOptions, run_options: RunOptions) -> Target | None:
        """What to plan for, None where nothing was asked.

        Raises:
            UserError: without --dry-run, or the numbers do not go together.
        """
        if not self.gpus:
            return None
        if not run_options.dry_run:
            raise UserError(
                "--gpus plans a run: add --dry-run; to train on several, start the command with"
                " torchrun --nproc-per-node"
            )
        machine = Machine.of(self.gpu, self.gpus, self.nodes, self.utilisation)
        return Target(machine, run_options.shard, training.dtype == "bf16")


def train(argv: Sequence[str]) -> None:
    """Trains a method on the user's data."""
    slug, rest = options.first_word(argv, "pretrial train", "the slug of a method")
    loaded = discover.load(slug)
    parsed = _parse(loaded, rest)
    source, training, run_options = parsed.source, parsed.training, parsed.run_options
    target = parsed.hardware.target(training, run_options)
    record = runs.Record(
        slug=slug,
        config=plain(parsed.config),
        arguments=plain(source) | plain(training),
        num_examples=0,
        num_held_out=0,
        environment=environment(),
        commit=commit(),
        init_dtype=stored_dtype(training.init) if training.init else "",
    )
    older = runs.Record.read(run_options.out) if runs.has_begun(run_options.out) else None
    if older is not None:
        record.check_options(older, run_options.out)
    examples, held_out = _read(loaded, source, training, run_options)
    record = dataclasses.replace(record, num_examples=len(examples), num_held_out=len(held_out))
    if older is not None:
        record.check_data(older, run_options.out)
    if run_options.dry_run:
        # without a checkpoint to read, shapes are enough: no memory is taken for weights
        with nullcontext() if training.init else torch.device("meta"):
            method = _build(loaded, parsed.config, training, examples)
        budget = training.parsed_budget()
        dry_run(method, examples, held_out, budget, training.seed, target=target)
    else:
        method = _build(loaded, parsed.config, training, examples)
        _train(method, record, examples, held_out, training, run_options)


def _parse(loaded: discover.Loaded, argv: Sequence[str]) -> Any:
    """The parts of the command line; the preset sets the defaults of the config."""
    prog = f"pretrial train {loaded.card.slug}"
    preset = options.peek(Preset, argv, prog=prog)
    if preset.tiny + preset.small + bool(preset.paper) > 1:
        raise UserError(f"{prog} takes one of --tiny, --small and --paper")
    config = loaded.config()
    if preset.tiny or preset.small:
        config = _preset(loaded, "tiny" if preset.tiny else "small")()
    elif preset.paper:
        config = _preset(loaded, "paper")(preset.paper)
    parts = options.merge(
        preset=Preset,
        source=data.Source,
        training=TrainingOptions,
        run_options=RunOptions(out=Path("runs") / loaded.card.slug),
        hardware=Hardware,
        config=config,
    )
    return options.parse(parts, argv, prog=prog, description=loaded.card.summary)


def _preset(loaded: discover.Loaded, name: str) -> Callable[..., Any]:
    """What the Config offers under that name.

    Raises:
        UserError: it does not.
    """
    if not hasattr(loaded.config, name):
        slug = loaded.card.slug
        raise UserError(
            f"{slug} takes no --{name}: its Config has no classmethod {name}(), which pretrial"
            f" check {slug} tells more of"
        )
    return getattr(loaded.config, name)


def _read(
    loaded: discover.Loaded, source: data.Source, training: TrainingOptions, run_options: RunOptions
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Examples to train on, and those held out."""
    rows: Sequence[Any]
    aside: Sequence[Any]
    other = None
    if training.held_out:
        other = dataclasses.replace(source, data=training.held_out, split=training.held_out_split)
    if run_options.data_on_disk:
        share = 0.0 if other else training.held_out_ratio
        rows, aside = on_disk.load(source, run_options.out, "data", share, training.seed)
        if other is not None:
            aside, _ = on_disk.load(other, run_options.out, "held-out", 0.0, training.seed)
    else:
        if not source.limit:
            check_fits(source.data, data.stream_all(source))
        rows = data.load(source)
        if other is not None:
            aside = data.load(other)
        else:
            rows, aside = hold_out(rows, training.held_out_ratio, training.seed)
    examples = data.read(loaded.method, rows, source)
    if not examples:
        raise UserError(f"{source.data} leaves no example to train on: give more data")
    return examples, data.read(loaded.method, aside, source) if aside else []


def _build(
    loaded: discover.Loaded, config: Any, training: TrainingOptions, examples: Sequence[Any]
) -> Method:
    """The method, the same in every process and at every start."""
    seed_everything(seed_of(training.seed, "build"))
    return loaded.method.build(config, source=training.init or None, data=examples)


def _train(
    method: Method,
    record: runs.Record,
    examples: Sequence[Any],
    held_out: Sequence[Any],
    training: TrainingOptions,
    run_options: RunOptions,
) -> None:
    runs.make_folder(run_options.out)
    run = Run(
        run_options.out,
        data=examples,
        held_out=held_out,
        budget=training.parsed_budget(),
        seed=training.seed,
        device=runs.device(run_options.device),
        trackers=run_options.trackers,
    )
    if not runs.has_begun(run_options.out):
        run.world.on_first(lambda: record.write(run_options.out))
    loop.train(
        method,
        run,
        autocast="bf16" if training.dtype == "bf16" else None,
        compile=run_options.compile,
        shard=run_options.shard,
    )
    model = run_options.out / runs.MODEL
    run.world.on_first(lambda: _save(method, model))
    if run.world.is_first:
        told = f"the model is in {model}: pretrial predict, eval and export take {run_options.out}"
        print(f"spent {_spent(run.spent)}; {told}")


def _save(method: Method, folder: Path) -> None:
    if not folder.exists():  # a finished run that is started again ends with the same model
        with checkpoint.whole_folder(folder) as partial:
            method.save(partial)


def _spent(spent: Spent) -> str:
    rows = {purpose: row.get("seconds", 0.0) for purpose, row in spent.by_purpose.items()}
    parts = ", ".join(f"{purpose} {seconds:.0f}" for purpose, seconds in rows.items())
    return f"{sum(rows.values()):.0f} s ({parts})"
