"""The warm start that comes with the package, so that the demonstration begins with learning.

A model of 0.26 M parameters, taught by imitation alone, and beside it what it was made from.
`pretrial demo coderl --rebuild` makes it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.trials.trial import trial, warm_config
from pretrial.train.log import read_rows
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.seeds import seed_everything

FOLDER = Path(__file__).parent / "warm_start"
ORIGIN = "origin.json"
SOLVED = 800  # training problems of the demonstration that have references
FIRST_LOSSES = 3  # of the log that are kept, for a test to compare
_PARTS = ("actor", ORIGIN)
# Settings that decide what is made; the others are of later stages
_DECIDING = (
    *("architecture", "width", "num_layers", "num_heads", "feed_forward", "dropout_prob"),
    *("vocab_size", "max_source", "max_target", "layout", "tabs", "schedule", "warmup"),
    *("warmup_epochs", "warmup_lr", "warmup_batch_size"),
)


def recipe() -> tuple[list[dict[str, Any]], Config]:
    """The problems and the settings that the warm start is made from."""
    return list(trial(solved=SOLVED).data().train), warm_config(SOLVED)


def origin() -> dict[str, Any]:
    """What tells whether a warm start was made from this recipe."""
    rows, config = recipe()
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    return {"data": digest, "seed": 0} | {name: getattr(config, name) for name in _DECIDING}


def rebuild(work: Path) -> None:
    """Teaches the warm start again and puts it in the package, once it is whole.

    Args:
        work: folder of the run; a run that was stopped there goes on.
    """
    rows, config = recipe()
    problems = CodeRL.read(rows)
    seed_everything(0)
    method = CodeRL.build(config, data=problems)
    run = Run(work / "run", problems, seed=0)
    train(method, run)
    run.close()
    made = work / "warm_start"
    method.save(made)
    (made / ORIGIN).write_text(
        json.dumps(origin() | {"losses": first_losses(run.folder)}, indent=1)
    )
    FOLDER.mkdir(exist_ok=True)
    for name in _PARTS:
        old = FOLDER / name
        if old.is_dir():
            shutil.rmtree(old)
        (shutil.copytree if (made / name).is_dir() else shutil.copy)(made / name, old)


def first_losses(folder: Path) -> list[float]:
    """The first losses in the log of a run."""
    rows = read_rows(folder / "metrics.jsonl")
    return [row["loss"] for row in rows if "loss" in row][:FIRST_LOSSES]
