"""Folders of runs that never were, with all that pages show."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


def make_run(folder: Path, *, stages: int = 1, steps: int = 300, **changed: Any) -> Path:
    """A run that is over: losses of very different size, held-out rows, samples, an evaluation.

    Args:
        folder: to be made.
        stages: so many, each of `steps` steps.
        steps: of a stage, with a row every ten.
        **changed: other values in run.json.
    """
    folder.mkdir(parents=True)
    record = {
        "slug": "electra",
        "config": {"lr": 0.002, "width": 128, "optim": {"beta": 0.9}},
        "arguments": {"data": ["texts.jsonl"], "budget": f"{steps * stages}steps", "seed": 0},
        "num_examples": 900,
        "num_held_out": 100,
        "environment": {"python": "3.11.7", "torch": "2.13.0", "processor": "any", "cores": 2},
        "commit": "0123456789ab",
        "init_dtype": "",
        "defaults": {
            "lr": 0.0005,
            "width": 128,
            "optim": {"beta": 0.9},
            "data": [],
            "budget": "",
            "seed": 0,
        },
        **changed,
    }
    (folder / "run.json").write_text(json.dumps(record))
    for number in range(stages):
        add_rows(folder, f"stage{number}", range(10, steps + 1, 10))
        done = folder / "stages" / f"stage{number}" / "done"
        done.mkdir(parents=True)
        spent = {"train": {"steps": steps, "seconds": 60.0}, "evaluate": {"seconds": 3.0}}
        (done / "state.json").write_text(json.dumps({"step": steps, "spent": spent}))
    (folder / "model").mkdir()
    samples = folder / "artefacts" / "samples"
    samples.mkdir(parents=True)
    rows = [{"prompt": f"text {i}", "written": "<b>a</b> b c " * 30} for i in range(5)]
    (samples / "texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = {"task": "probe", "metrics": {"accuracy": {"value": 0.91, "low": 0.9, "high": 0.92}}}
    (folder / "probe.json").write_text(json.dumps(found))
    return folder


def add_rows(folder: Path, stage: str, steps: range) -> None:
    """Writes rows of a stage's metrics behind those that there are."""
    with (folder / "metrics.jsonl").open("a") as file:
        for step in steps:
            loss = 2 + 4 * math.exp(-step / 80)
            row: dict[str, Any] = {
                "stage": stage,
                "step": step,
                "loss": 50 * loss,
                "mlm_loss": loss,
            }
            row |= {"grad_norm": 1.0, "lr": 1e-3, "examples": 32.0 * step}
            row["seconds"] = 0.2 * step
            file.write(f"{json.dumps(row)}\n")
            if step % 50 == 0:
                held = {"eval/loss": loss + 0.1, "eval/accuracy": 1 - loss / 8, "eval/odd": None}
                file.write(f"{json.dumps({'stage': stage, 'step': step, **held})}\n")


def in_training(folder: Path) -> Path:
    """Makes a run look as while this process trains it."""
    (folder / "model").rmdir()
    (folder / ".lock").write_text(str(os.getpid()))
    return folder
