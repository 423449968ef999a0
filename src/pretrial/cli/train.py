"""`train`: rows in, a folder with a trained model out; the same command again goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pretrial import discover
from pretrial.api import data, runs, training
from pretrial.cli import options
from pretrial.cli.dry_run import Target, dry_run
from pretrial.compare.report.run_page import NAME as REPORT
from pretrial.errors import UserError
from pretrial.train.budget import Spent
from pretrial.train.hardware import Machine
from pretrial.train.lora import LoraOptions


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


def train(argv: Sequence[str]) -> None:
    """Trains a method on the user's data."""
    slug, rest = options.first_word(argv, "pretrial train", "the slug of a method")
    loaded = discover.load(slug)
    parsed = _parse(loaded, rest)
    source, run_options = parsed.source, parsed.run_options
    target = parsed.hardware.target(parsed.training, run_options)
    prepared = training.prepare(
        loaded, parsed.config, source, parsed.training, run_options, parsed.lora
    )
    if run_options.dry_run:
        _dry_run(prepared, target)
        return
    run = prepared.train(run_options)
    if run.world.is_first:
        out = run_options.out
        told = f"the model is in {out / runs.MODEL}: pretrial predict, eval and export take {out}"
        print(f"spent {_spent(run.spent)}; {told}; {out / REPORT} shows the run")


def _dry_run(prepared: training.Prepared, target: Target | None) -> None:
    asked = prepared.training
    # without a checkpoint to read, shapes are enough: no memory is taken for weights
    with nullcontext() if asked.init else torch.device("meta"):
        method = prepared.build()
    examples, held_out = prepared.examples, prepared.held_out
    dry_run(method, examples, held_out, asked.parsed_budget(), asked.seed, target=target)


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
        training=training.TrainingOptions,
        lora=LoraOptions,
        run_options=training.RunOptions(out=Path("runs") / loaded.card.slug),
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


def _spent(spent: Spent) -> str:
    rows = {purpose: row.get("seconds", 0.0) for purpose, row in spent.by_purpose.items()}
    parts = ", ".join(f"{purpose} {seconds:.0f}" for purpose, seconds in rows.items())
    return f"{sum(rows.values()):.0f} s ({parts})"
