"""`train`: rows in, a folder with a trained model out; the same command again goes on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pretrial import discover, status
from pretrial.api import data, presets, runs, training
from pretrial.api.replacing import check_goes_on, replacing
from pretrial.cli import config_file, options
from pretrial.cli.dry_run import Target, dry_run
from pretrial.compare.report.run_page import NAME as REPORT
from pretrial.errors import UserError
from pretrial.status import duration
from pretrial.train import distributed
from pretrial.train.budget import Spent
from pretrial.train.callbacks import Callbacks
from pretrial.train.hardware import Machine
from pretrial.train.log import METRICS, read_rows
from pretrial.train.lora import LoraOptions
from pretrial.train.progress import summary
from pretrial.train.run import Run


@dataclass(frozen=True)
class Sizes:
    """Where the defaults of the method's options come from.

    Attributes:
        preset: auto chooses among the others by the data and the budget, and says which; tiny is to
            try a data set in seconds; small trains in minutes on a small machine, as in the trials;
            base has the sizes that --help shows. With --init, sizes are those of the checkpoint.
        tiny: short for --preset tiny.
        small: short for --preset small.
        paper: the published configuration of that name, with its steps of warm-up.
    """

    preset: presets.Preset = "auto"
    tiny: bool = False
    small: bool = False
    paper: str = ""

    @property
    def name(self) -> str:
        """The preset that was asked for, "auto" where none was."""
        return "tiny" if self.tiny else "small" if self.small else self.preset


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

    def target(
        self, asked: training.TrainingOptions, run_options: training.RunOptions
    ) -> Target | None:
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
        return Target(machine, run_options.shard, asked.dtype == "bf16")


def train(argv: Sequence[str], callbacks: Callbacks | None = None) -> Run | None:
    """Trains a method on the user's data.

    Args:
        argv: the words behind `train`.
        callbacks: for a caller in Python.

    Returns:
        The run; None where --dry-run only planned one.
    """
    slug, rest = options.first_word(argv, "pretrial train", "the slug of a method")
    with status.task(f"loading {slug}"):
        loaded = discover.load(slug)
    asked = Asked(loaded, rest)
    parsed = asked.parse(asked.preset)
    target = parsed.hardware.target(parsed.training, parsed.run_options)
    plans = parsed.run_options.dry_run
    out = asked.folder()
    anew = parsed.run_options.overwrite and not plans
    with replacing(out) if anew else nullcontext():
        prepared = asked.prepare(out)
        if plans:
            _dry_run(prepared, target)
            return None
        run = prepared.train(replace(parsed.run_options, out=out), callbacks)
    if run.world.is_first:
        print("\n".join(_told_at_the_end(out, run.spent)))
    return run


def parts_of(loaded: discover.Loaded, config: Any) -> dict[str, Any]:
    """What holds the options of a method, as `options.merge` takes it.

    Args:
        loaded: the method.
        config: its settings, which are the defaults of their options.
    """
    return {
        "sizes": Sizes,
        "source": data.Source,
        "training": training.TrainingOptions,
        "lora": LoraOptions,
        "run_options": training.RunOptions(out=Path("runs") / loaded.card.slug),
        "hardware": Hardware,
        "config": config,
    }


class Asked:
    """A command line of `train`.

    Args:
        loaded: the method.
        argv: the words behind its slug.

    Attributes:
        preset: "auto", or where the defaults come from: a preset, or "paper NAME".
    """

    def __init__(self, loaded: discover.Loaded, argv: Sequence[str]) -> None:
        self.loaded = loaded
        self.argv = argv
        self.prog = f"pretrial train {loaded.card.slug}"
        sizes = options.peek(Sizes, argv, prog=self.prog)
        ways = (sizes.preset != "auto", sizes.tiny, sizes.small, bool(sizes.paper))
        if sum(ways) > 1:
            raise UserError(
                f"{self.prog} takes --preset NAME or one of --tiny, --small and --paper"
            )
        self.preset = f"paper {sizes.paper}" if sizes.paper else sizes.name

    def parse(self, preset: str) -> Any:
        """The parts of the command line, with the defaults of a preset; of "base" for "auto"."""
        loaded = self.loaded
        source, _, name = preset.partition(" ")
        if source == "paper":
            config = presets.published(loaded, name)
        else:
            config = presets.config_of(loaded, "base" if preset == "auto" else preset)
        parts = options.merge(**parts_of(loaded, config))
        return options.parse(parts, self.argv, prog=self.prog, description=loaded.card.summary)

    def folder(self) -> Path:
        """Where to train: --out, or a run of this very command, or the next free runs/SLUG-2.

        Raises:
            UserError: --overwrite does not say what.
        """
        found = self.parse(self.preset).run_options
        if options.is_given("--out", self.argv):
            return found.out
        if found.extend:
            folders = runs.numbered(found.out)
            same = [folder for folder in folders if self._asks_for(runs.Record.read(folder))]
            if not same:
                raise UserError(f"no run of this command is in {found.out}: give its --out")
            return same[0]
        if found.overwrite:
            raise UserError("--overwrite trains anew in the folder of --out: give that one, too")
        return Path(distributed.join().share(str(self._unnamed(found.out))))

    def _unnamed(self, base: Path) -> Path:
        folder, told = runs.folder_for(base, self._asks_for)
        if told:
            _say(told)
        return folder

    def _asks_for(self, older: runs.Record) -> bool:
        """Whether a run is that of this command."""
        parsed = self.parse(self._preset_in(older))
        return self._record(parsed).difference(older) is None

    def _record(self, parsed: Any) -> runs.Record:
        return training.record_of(
            self.loaded, parsed.config, parsed.source, parsed.training, lora=parsed.lora
        )

    def _preset_in(self, older: runs.Record) -> str:
        """What was asked for, with that of an older run in place of "auto"."""
        if self.preset != "auto" or older.slug != self.loaded.card.slug:
            return self.preset
        return older.preset or "base"

    def prepare(self, out: Path) -> training.Prepared:
        """The run, with its data read and its preset chosen."""
        preset, found, parsed = self.preset, None, self.parse(self.preset)
        where = replace(parsed.run_options, out=out)
        parsed.lora.check(parsed.training.init)  # before data is read for nothing
        if where.goes_on:
            preset = self._preset_in(runs.Record.read(out))
        elif preset == "auto" and parsed.training.init:
            preset = "base"
        elif preset == "auto" and not where.extend:
            found = training.read(self.loaded, parsed.source, parsed.training, where)
            device = runs.device(where.device)
            budget = parsed.training.parsed_budget()
            chosen = presets.choose(self.loaded, found.rows, budget, device)
            preset = distributed.join().share(chosen.name)
            _say(f"preset {preset}: {chosen.reason}")
        parsed = self.parse(preset)
        if where.overwrite and where.goes_on:
            check_goes_on(self._record(parsed), out)
        prepared = training.prepare(
            self.loaded,
            parsed.config,
            parsed.source,
            parsed.training,
            where,
            parsed.lora,
            preset=preset,
            found=found,
        )
        return replace(prepared, repeat=self._repeat(parsed, preset, where))

    def _repeat(self, parsed: Any, preset: str, where: training.RunOptions) -> str:
        """The file that would repeat the run."""
        parts = (parsed.source, parsed.training, parsed.lora, where)
        told = {name: v for part in parts for name, v in options.values_of(part).items()}
        for name in ("dry-run", "overwrite", "extend"):
            del told[name]
        kind, _, name = preset.partition(" ")
        sizes = {"paper": name} if name else {"preset": kind}
        command = f"train {self.loaded.card.slug}"
        return config_file.text_of(command, told | sizes, options.values_of(parsed.config))


def _say(text: str) -> None:
    if distributed.join().is_first:
        print(text)


def _dry_run(prepared: training.Prepared, target: Target | None) -> None:
    asked = prepared.training
    # without a checkpoint to read, shapes are enough: no memory is taken for weights
    with nullcontext() if asked.init else torch.device("meta"):
        method = prepared.build()
    examples, held_out = prepared.examples, prepared.held_out
    dry_run(method, examples, held_out, asked.parsed_budget(), asked.seed, target=target)


def _told_at_the_end(out: Path, spent: Spent) -> list[str]:
    """Where the losses went, what was spent, and what can be done now, in commands to be copied."""
    folder = shlex.quote(str(out))
    return [
        *summary(read_rows(out / METRICS)),
        f"spent {_spent(spent)}",
        f"{out / REPORT} shows the run",
        f"the model is in {out / runs.MODEL}; what can be done with it:",
        f"  pretrial eval {folder}",
        f"  pretrial predict {folder} --data DATA --out predicted.jsonl",
        f"  pretrial train --config {folder}/{runs.REPEAT} --extend 5min",
        f"  pretrial export {folder} --to {shlex.quote(out.name)}-exported",
    ]


def _spent(spent: Spent) -> str:
    rows = spent.seconds()
    parts = ", ".join(f"{purpose} {seconds:.0f}" for purpose, seconds in rows.items())
    return f"{duration(sum(rows.values()))} (seconds of {parts})"
