"""Models of trials: what an arm has trained with a seed, as a run that can be used like any other.

The job of an arm keeps the checkpoints of its training, and no model. Here it becomes a run: the
arm is built as it was then, its finished stages are read and not trained, and the model is saved.
Where the job's folder has gone, the same work is done again from the record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrial import discover
from pretrial.api import runs
from pretrial.compare import record as records
from pretrial.compare import worker
from pretrial.compare.engine import Course, Placement
from pretrial.compare.jobs import Local
from pretrial.compare.numbers import rounded
from pretrial.compare.setting import Setting
from pretrial.environment import commit, environment
from pretrial.errors import UserError, nearest
from pretrial.plain import plain
from pretrial.train.checkpoint import whole_folder
from pretrial.train.method import Method

_JOB = "job.json"
_SAME = ("slugs", "options", "budget", "fields")  # of settings that lead to the same work


def run_of(path: Path) -> Path:
    """The folder of the run that a path names: of a run, or of a job of a trial, which becomes one.

    Raises:
        UserError: the job was not done, or its subject is no trained method.
    """
    if (path / runs.NAME).is_file() or not (path / _JOB).is_file():
        return path
    run = path / "run"
    if not (run / runs.NAME).is_file():
        if not (path / worker.RESULT).is_file():
            raise UserError(f"the job in {path} is not done: run its trial again, which goes on")
        _make_run(path)
    return run


def run_of_record(path: Path, arm: str, seed: int | None, folder: Path) -> tuple[Path, str]:
    """The run of an arm with a seed of a record; trained again where it has gone.

    Args:
        path: of the record.
        arm: its name; "" is the one that the verdict is for.
        seed: one that the arm ran with; None is its first.
        folder: of the jobs of trials.

    Returns:
        The folder of the run, and a sentence that says where the model comes from.

    Raises:
        UserError: there is no such record, arm or seed, nothing won, or the arm trains nothing.
    """
    record = records.read(path)
    row = _row(record, arm or _winner(record))
    seed = row["seeds"][0] if seed is None else seed
    if seed not in row["seeds"]:
        known = ", ".join(map(str, row["seeds"]))
        raise UserError(f"{row['name']} did not run with seed {seed}: give one of {known}")
    found = _job_of(record, row, seed, folder)
    if found is not None:
        return run_of(found), f"the model is that of {row['label']}, seed {seed}, in {found}"
    took = row["seconds"][row["seeds"].index(seed)]
    print(
        f"the run of {row['name']} with seed {seed} is no longer in {folder}: it is trained again,"
        f" which took {took:.0f} s",
        flush=True,
    )
    made = run_of(_train_again(record, row, seed, folder))
    return made, f"the model is that of {row['label']}, seed {seed}, trained again"


def measured(run: Path) -> dict[str, float]:
    """What a trial has measured of the model of a job's run; {} of any other run."""
    result = run.parent / worker.RESULT
    if not (run.parent / _JOB).is_file() or not result.is_file():
        return {}
    return json.loads(result.read_text(encoding="utf-8"))["metrics"]


def _winner(record: Mapping[str, Any]) -> str:
    """The arm that the verdict is for.

    Raises:
        UserError: it is for none.
    """
    sides = {"better": "arm", "worse": "baseline"}
    if record["verdict"] not in sides or not record["claims"]:
        names = ", ".join(row["name"] for row in record["arms"])
        raise UserError(
            f"the verdict is {record['verdict']!r}, which no arm has won: name one of {names} with"
            " --arm"
        )
    return record["claims"][0][sides[record["verdict"]]]


def _row(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    rows = {row["name"]: row for row in record["arms"]}
    if name not in rows:
        raise UserError(f"the record has no arm {name!r}; the nearest: {nearest(name, rows)}")
    return rows[name]


def _job_of(
    record: Mapping[str, Any], row: Mapping[str, Any], seed: int, folder: Path
) -> Path | None:
    """The job that gave the numbers of an arm with a seed, if it is still there."""
    wanted = {name: record["setting"].get(name) for name in _SAME}
    metrics = {name: values[row["seeds"].index(seed)] for name, values in row["metrics"].items()}
    lead = Setting.from_json(record["setting"]).lead
    for path in sorted((folder.absolute() / lead).glob(f"*-seed{seed}-*/{_JOB}")):
        job, result = json.loads(path.read_text()), path.parent / worker.RESULT
        if job["arm"] is None or {n: job["setting"].get(n) for n in _SAME} != wanted:
            continue
        if result.is_file():
            found = json.loads(result.read_text())["metrics"]
            if {name: rounded(value) for name, value in found.items()} == metrics:
                return path.parent
    return None


def _train_again(
    record: Mapping[str, Any], row: Mapping[str, Any], seed: int, folder: Path
) -> Path:
    """Does the work of an arm with a seed anew, and what the arms of that seed share.

    Raises:
        UserError: the trial sets the arm otherwise today.
    """
    setting = Setting.from_json(record["setting"])
    trial = setting.make()
    arm = trial.arm(row["name"])
    tuned = record.get("tuning") or {"chosen": {}}
    chosen = {}
    if arm.name in tuned["chosen"]:
        chosen = {tuned["field"]: tuned["chosen"][arm.name]}
    now = plain(arm.with_chosen(chosen).config) or {}
    changed = [name for name, value in (row["config"] or {}).items() if now.get(name) != value]
    if changed:
        raise UserError(
            f"the trial sets {arm.name} otherwise today ({changed[0]} is {now.get(changed[0])}, and"
            f" was {row['config'][changed[0]]}): train it at commit {', '.join(record['commits'])},"
            f" or hold the trial anew"
        )
    with Local(1, setting.slugs) as pool:
        course = Course(setting, trial, Placement(folder, workers=1, quiet=True), pool)
        course.chosen[arm.name] = chosen
        course.run([(arm, seed)])
    return course.folders[-1]


def _make_run(folder: Path) -> None:
    """Makes a run of what a job has trained: its record and its model beside its stages.

    Raises:
        UserError: it has trained no method.
    """
    job = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    setting = Setting.from_json(job["setting"])
    trial, chosen, seed = setting.make(), job.get("chosen", {}), job["seed"]
    if job["arm"] is None:
        raise UserError(f"{folder} holds what the arms of a seed share: give the folder of an arm")
    arm = trial.arm(job["arm"]).with_chosen(chosen)
    prepared = Path(job["prepared"]) / "prepared" if job["prepared"] else None
    data = trial.data()
    run, subject = worker.trained(trial, arm, data, chosen, seed, folder, prepared)
    run.close()
    card = discover.card_of(subject)
    if not isinstance(subject, Method) or card is None:
        raise UserError(
            f"{arm.label} is no trained method but a {type(subject).__name__}, which is no model to"
            " take away: give another arm"
        )
    with whole_folder(run.folder / runs.MODEL) as partial:
        subject.save(partial)
    options = setting.options
    made = runs.Record(
        slug=card.slug,
        config=plain(subject.config),
        arguments={
            "data": options.get("data") or options.get("corpus") or data.name,
            "init": str(arm.source or prepared or ""),
            "budget": f"{trial.budget.amount:g}{trial.budget.unit}",
            "seed": seed,
            "trial": f"{'-'.join(setting.slugs)}, arm {arm.name}",
        },
        num_examples=len(data.train),
        num_held_out=len(data.held_out),
        environment=environment(),
        commit=commit(),
    )
    made.write(run.folder)
