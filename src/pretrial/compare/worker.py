"""One job of a trial in a process of its own: `python -m pretrial.compare.worker FOLDER`.

FOLDER/job.json says what to do; FOLDER/result.json is written, whole, when it is done. The process
ends when its standard input does, so that no job outlives the trial that started it.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial import status
from pretrial.compare.times import Clock, worked
from pretrial.errors import UserError
from pretrial.files import disk_explained, write_whole

if TYPE_CHECKING:
    from pretrial.compare.trial import Arm, Data, Trial, Values
    from pretrial.train.run import Run

RESULT = "result.json"
_PATIENCE = 120.0  # seconds that a job waits for an older process to leave its folder


def run(folder: Path) -> int:
    """Runs the job of a folder in this process; exit code 0, or 2 for what the user can mend."""
    threading.Thread(target=end_with_parent, daemon=True).start()

    try:
        with status.hidden(), disk_explained(folder), _claimed(folder):
            if not (folder / RESULT).exists():
                with Clock(folder) as clock:
                    work(folder, clock)
    except UserError as error:
        print("pretrial:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def work(folder: Path, clock: Clock) -> None:
    """Does what job.json says and writes the result, with the seconds of all parts of the work."""
    import torch

    from pretrial.compare.setting import Setting
    from pretrial.train.run import seed_everything, seed_of

    torch.set_num_threads(1)
    job = json.loads((folder / "job.json").read_text())
    trial = Setting.from_json(job["setting"]).make()
    seed = job["seed"]
    if job["arm"] is None:
        assert trial.prepare is not None
        seed_everything(seed_of(seed, "prepare"))
        prepared = folder / "prepared"
        prepared.mkdir(exist_ok=True)
        spent = trial.prepare(seed, prepared)
        result: dict[str, Any] = {"spent": spent.by_purpose if spent else {}}
    else:
        source = Path(job["prepared"]) / "prepared" if job["prepared"] else None
        chosen = job.get("chosen", {})
        result = _run_arm(trial, trial.arm(job["arm"]), chosen, seed, folder, source)
    clock.tick()
    write_json(folder / RESULT, {**result, "seconds": worked(folder)})


def _run_arm(
    trial: Trial,
    arm: Arm,
    chosen: Mapping[str, Any],
    seed: int,
    folder: Path,
    prepared: Path | None,
) -> dict[str, Any]:
    """Trains and measures one arm; the result as plain JSON."""
    from torch import nn

    from pretrial.environment import commit
    from pretrial.train.run import seed_everything, seed_of

    data = trial.data()
    run, subject = trained(trial, arm.with_chosen(chosen), data, chosen, seed, folder, prepared)
    began = time.monotonic()
    seed_everything(seed_of(seed, "measure"))
    metrics, items, groups = split_values(trial.measure(subject, data, seed))
    if trial.metric not in metrics:
        raise UserError(f"the trial's measure gave {sorted(metrics)}, not {trial.metric!r}")
    return {
        "metrics": metrics,
        "items": items,
        "groups": groups,
        "spent": run.spent.by_purpose,
        "parameters": (
            sum(p.numel() for p in subject.parameters()) if isinstance(subject, nn.Module) else None
        ),
        "curves": read_curves(run.folder / "metrics.jsonl", trial.budget.unit, trial.curves),
        "data": data.name,
        "num_train": len(data.train),
        "commit": commit(),
        "measure_seconds": time.monotonic() - began,
    }


def trained(
    trial: Trial,
    arm: Arm,
    data: Data,
    chosen: Mapping[str, Any],
    seed: int,
    folder: Path,
    prepared: Path | None,
) -> tuple[Run, Any]:
    """Trains an arm from where its folder stands; its run, and what is measured.

    Args:
        trial: that it is an arm of.
        arm: with the settings chosen.
        data: of the trial.
        chosen: the settings that a pilot seed has chosen.
        seed: of the run.
        folder: of the job.
        prepared: what the arms of the seed share, or None.
    """
    from pretrial.compare.trial import Context
    from pretrial.train.run import Run, seed_everything, seed_of

    run = Run(folder / "run", data.train, data.held_out, trial.budget, seed)
    seed_everything(seed_of(seed, "build"))
    if arm.run is not None:
        return run, arm.run(Context(run, data, prepared, chosen))
    return run, _train_method(arm, run, prepared)


def _train_method(arm: Any, run: Any, prepared: Path | None) -> Any:
    from pretrial.compare.kit.warm_starts import begun
    from pretrial.train.loop import train

    source = arm.source if arm.source is not None else prepared
    run, subject = begun(arm.method, arm.config, run, source)
    if arm.trains:
        train(subject, run)
    return subject.eval()


def split_values(
    values: Values,
) -> tuple[dict[str, float], dict[str, list[float]], dict[str, list[int]]]:
    """Metrics; the items of those that have one number an item; the groups of those that have any.

    Groups are numbered in the order in which they come.

    Raises:
        UserError: a metric is not finite, has no items, or not a group for each.
    """
    from pretrial.compare.trial import Items

    metrics, items, groups = {}, {}, {}
    for name, value in values.items():
        if isinstance(value, Items):
            numbers = {group: i for i, group in enumerate(dict.fromkeys(value.groups))}
            groups[name] = [numbers[group] for group in value.groups]
            value = value.values
            if len(groups[name]) != len(value):
                raise UserError(f"{name} has {len(value)} items and {len(groups[name])} groups")
        if isinstance(value, Sequence):
            items[name] = [float(v) for v in value]
            if not items[name]:
                raise UserError(f"{name} was measured on no items: give test data")
            metrics[name] = sum(items[name]) / len(items[name])
        else:
            metrics[name] = float(value)
        if not math.isfinite(metrics[name]):
            raise UserError(f"{name} is {metrics[name]}, so this arm cannot be compared")
    return metrics, items, groups


def read_curves(path: Path, unit: str, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Curves of a training log: name to {"x", "y"}.

    x is what had been spent of `unit` where a row says so (or a neighbour does), else the step; a
    clock's seconds are never used, so that a record does not depend on the machine's load. Runs of
    several stages give one curve a stage, named "stage: name".
    """
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    stages = list(dict.fromkeys(row.get("stage", "") for row in rows))
    curves: dict[str, dict[str, list[float]]] = {}
    for stage in stages:
        own = [row for row in rows if row.get("stage", "") == stage and "step" in row]
        known = {row["step"]: row[unit] for row in own if unit in row and unit != "seconds"}
        for row in own:
            x = _position(row["step"], known)
            for name, value in row.items():
                if not _kept(name, names) or not isinstance(value, int | float):
                    continue
                label = f"{stage}: {name}" if len(stages) > 1 else name
                curve = curves.setdefault(label, {"x": [], "y": []})
                curve["x"].append(x)
                curve["y"].append(float(value))
    return curves


def _position(step: int, known: Mapping[int, float]) -> float:
    """What had been spent at a step, in proportion to the nearest step that says so."""
    if not known:
        return float(step)
    nearest = min(known, key=lambda other: abs(other - step))
    return known[nearest] * step / nearest if nearest else float(step)


def _kept(name: str, names: Sequence[str]) -> bool:
    return name in names if names else name.endswith("loss") or name.startswith("eval/")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file that is whole or not there."""
    write_whole(path, json.dumps(value, indent=1) + "\n")


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Holds the job's folder; waits while an older process, told to stop, is still saving."""
    deadline = time.monotonic() + _PATIENCE
    with (folder / ".job").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"another process works in {folder}: wait for it to end"
                    ) from None
                time.sleep(0.1)
        yield


def end_with_parent() -> None:
    """Stops this process, as Ctrl-C would, once nobody holds the other end of its input."""
    while os.read(0, 1024):  # not sys.stdin: its lock would be held when Python shuts down
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
