"""`finetune`: labelled rows in, a classifier out that predict, eval and export take."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pretrial.api import data, runs
from pretrial.cli import config_file, options
from pretrial.compare.report.run_page import NAME as REPORT

if TYPE_CHECKING:
    from pretrial.train.run import Run


def finetune(argv: Sequence[str]) -> Run:
    """Fine-tunes a run or a checkpoint on the user's labelled data."""
    what = "a checkpoint, or the folder of a run"
    name, rest = options.first_word(argv, "pretrial finetune", what)
    from pretrial.api import finetuning
    from pretrial.api.opening import open_model
    from pretrial.bases.plain.config import FinetuneOptions

    parts = options.merge(
        source=data.Source,
        options=FinetuneOptions(),
        learning=finetuning.LearningOptions(),
        place=finetuning.PlaceOptions(),
    )
    prog = f"pretrial finetune {name}"
    parsed: Any = options.parse(parts, rest, prog=prog, description=finetune.__doc__ or "")
    done = finetuning.finetune(
        open_model(name),
        parsed.source,
        parsed.options,
        parsed.learning,
        parsed.place,
        numbered=not options.is_given("--out", rest),
    )
    if done.run.world.is_first:
        out = done.run.folder
        place = dataclasses.replace(parsed.place, out=out)
        given = (parsed.source, parsed.options, parsed.learning, place)
        repeat = config_file.repeat_of(shlex.join(["finetune", name]), *given)
        runs.write_text(out / runs.REPEAT, repeat)
        print(_summary(done))
        told = f"the model is in {out / runs.MODEL}: pretrial predict, eval and export take {out}"
        print(f"{told}; {out / REPORT} shows the run")
    return done.run


def _summary(done: Any) -> str:
    """What was learnt from how much, and what it cost."""
    spent = done.run.spent.seconds()
    total = sum(spent.values())
    parts = ", ".join(f"{purpose} {seconds:.0f}" for purpose, seconds in spent.items())
    scores = ", ".join(f"{name} {score:.4g}" for name, score in done.method.scores.items())
    return (
        f"learnt from {done.num_learnt} rows with learning rate {done.method.chosen_lr:g};"
        f" {done.num_held_out} rows held out: {scores}\n{total:.0f} s ({parts})"
    )
