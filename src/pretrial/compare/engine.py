"""The trial engine: jobs for all arms and seeds, the budget audit, verdicts, the record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrial import discover
from pretrial.compare import record as records
from pretrial.compare import stats
from pretrial.compare.audit import Account, audit
from pretrial.compare.jobs import Job, run_here, run_on_ray
from pretrial.compare.setting import Setting
from pretrial.compare.times import covered
from pretrial.compare.trial import Arm, Claim, Trial
from pretrial.compare.worker import RESULT, write_json
from pretrial.environment import commit, cores, environment
from pretrial.errors import UserError, require_packages
from pretrial.plain import plain

Results = Mapping[tuple[str, int], Mapping[str, Any]]


@dataclass(frozen=True)
class Placement:
    """Where and how a trial runs; none of it changes its outcome.

    Attributes:
        runs: folder of all trials' jobs.
        on: "local" or "ray".
        workers: processes at a time on this machine; 0 is one a core.
        quiet: print nothing.
    """

    runs: Path
    on: Literal["local", "ray"] = "local"
    workers: int = 0
    quiet: bool = False


def hold(setting: Setting, placement: Placement, command: str = "") -> dict[str, Any]:
    """Runs a trial, or what is left of it, and judges it.

    Args:
        setting: what is tried; with no seeds or arms, the trial's own.
        placement: where it runs.
        command: the command line, for the record.

    Returns:
        The record, which fits the schema.

    Raises:
        UserError: a package is missing, a job failed, the trial was stopped, or the arms had
            unequal budgets.
    """
    require_packages("scipy", "jsonschema", *(["ray"] if placement.on == "ray" else []))
    trial = setting.make()
    require_packages(*trial.packages)
    arms = trial.choose(setting.arms)
    seeds = setting.seeds or tuple(range(trial.num_seeds))
    names = tuple(arm.name for arm in arms)
    setting = dataclasses.replace(setting, seeds=seeds, arms=names, budget=trial.budget)
    jobs, owners = _jobs(setting, trial, arms, placement.runs)
    shape = f"{len(jobs)} jobs ({len(arms)} arms, {len(seeds)} seeds)"
    _say(placement, f"{shape}, logs in {placement.runs}")
    progress = _Progress(jobs, trial, placement)
    if placement.on == "ray":
        run_on_ray(jobs, progress)
    else:
        methods = dict.fromkeys([*setting.slugs, *(arm.method for arm in arms if arm.method)])
        run_here(jobs, placement.workers or cores(), progress, tuple(methods))
    results = {
        owner: json.loads((job.folder / RESULT).read_text())
        for job, owner in zip(jobs, owners, strict=True)
    }
    made = _record(setting, trial, arms, results)
    made["command"] = command
    made["wall_seconds"] = round(covered(job.folder for job in jobs), 3)
    records.check(made)
    return made


def _jobs(
    setting: Setting, trial: Trial, arms: Sequence[Arm], runs: Path
) -> tuple[list[Job], list[tuple[str, int]]]:
    """The jobs, seeds outermost so that paired runs end together, and their (arm, seed).

    The preparation of a seed is owned by the arm "".
    """
    jobs, owners = [], []

    def add(arm: Arm | None, seed: int, needs: Job | None) -> Job:
        name = arm.name if arm else "prepare"
        folder = job_folder(setting, trial, arm, seed, runs)
        folder.mkdir(parents=True, exist_ok=True)
        work = {
            "setting": setting.to_json(),
            "arm": arm.name if arm else None,
            "seed": seed,
            "prepared": str(needs.folder) if needs else None,
        }
        write_json(folder / "job.json", work)
        jobs.append(Job(f"{name}, seed {seed}", folder, needs))
        owners.append((arm.name if arm else "", seed))
        return jobs[-1]

    for seed in setting.seeds:
        prepared = add(None, seed, None) if trial.prepare else None
        for arm in arms:
            add(arm, seed, prepared)
    return jobs, owners


def job_folder(setting: Setting, trial: Trial, arm: Arm | None, seed: int, runs: Path) -> Path:
    """Where the job of an arm works, or for None the preparation of a seed.

    Holds `run`, the arm's run, or `prepared`, what the preparation has filled.
    """
    work = f"seed{seed}-{setting.digest(trial, arm, seed)}"
    folder = runs.absolute() / setting.lead
    # the arm may have had another name in another trial
    known = next(iter(sorted(folder.glob(f"*-{work}"))), None)
    return known or folder / f"{arm.name if arm else 'prepare'}-{work}"


class _Progress:
    """Says which job has finished, how it came out and how long the rest may take."""

    def __init__(self, jobs: Sequence[Job], trial: Trial, placement: Placement) -> None:
        self.total = len(jobs)
        self.done = sum(job.done for job in jobs)
        self.trial, self.placement = trial, placement

    def __call__(self, job: Job, seconds: float) -> None:
        self.done += 1
        metrics = json.loads((job.folder / RESULT).read_text()).get("metrics", {})
        name = self.trial.metric
        shown = f": {name} {metrics[name]:.4g}" if name in metrics else ""
        _say(self.placement, f"{self.done}/{self.total}  {job.name}{shown}  ({seconds:.0f} s)")


def _say(placement: Placement, text: str) -> None:
    if not placement.quiet:
        print(text, flush=True)


def _record(
    setting: Setting, trial: Trial, arms: Sequence[Arm], results: Results
) -> dict[str, Any]:
    """The record, from the results of all jobs."""
    accounts = [
        Account(arm.name, seed, results[arm.name, seed]["spent"], arm.trains)
        for arm in arms
        for seed in setting.seeds
    ]
    unequal = audit(accounts, trial.budget, trial.counted)
    rows = [_arm_row(arm, [results[arm.name, seed] for seed in setting.seeds]) for arm in arms]
    claims = judge(rows, trial.claims_of(arms))
    first = results[arms[0].name, setting.seeds[0]]
    commits = sorted({r["commit"] for r in results.values() if "commit" in r} | {commit()})
    entry = discover.find(setting.slugs[0])
    shared = [r["spent"] for (name, _), r in results.items() if not name]
    return {
        "schema": records.SCHEMA_VERSION,
        "kind": "trial" if len(setting.slugs) == 1 else "comparison",
        "slug": "-".join(filter(None, [*setting.slugs, trial.name])),
        "title": trial.title,
        "family": entry.family,
        "abilities": list(entry.card.abilities),
        "question": trial.question,
        "setting": setting.to_json(),
        "metric": trial.metric,
        "direction": trial.direction,
        "baseline": trial.reference().name,
        "budget": {
            **plain(trial.budget),
            "counted": list(trial.counted),
            "largest_difference_ratio": records.rounded(unequal),
        },
        "data": {"name": first["data"], "num_train": first["num_train"]},
        "arms": rows,
        "shared": mean_spending(shared),
        "claims": claims,
        "verdict": claims[0]["verdict"] if claims else None,
        "notes": list(trial.notes),
        "commits": [c for c in commits if c],
        "environment": environment(),
    }


def _arm_row(arm: Arm, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One arm of the record, over its seeds."""
    names = list(results[0]["metrics"])
    curves = {
        name: records.merge_curves([r["curves"][name] for r in results])
        for name in results[0]["curves"]
        if all(name in r["curves"] for r in results)
    }
    return {
        "name": arm.name,
        "label": arm.label,
        "role": arm.role,
        "method": arm.method,
        "config": plain(arm.config),
        "trains": arm.trains,
        "parameters": results[0]["parameters"],
        "metrics": {n: [records.rounded(r["metrics"][n]) for r in results] for n in names},
        "items": {
            n: [[records.rounded(v) for v in r["items"][n]] for r in results]
            for n in results[0]["items"]
        },
        "spent": mean_spending([r["spent"] for r in results]),
        "seconds": [records.rounded(r["seconds"]) for r in results],
        "curves": curves,
    }


def mean_spending(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Mean over seeds of what was spent, by purpose and unit."""
    total: dict[str, dict[str, float]] = {}
    for row in rows:
        for purpose, amounts in row.items():
            kept = total.setdefault(purpose, {})
            for unit, amount in amounts.items():
                kept[unit] = kept.get(unit, 0.0) + amount / len(rows)
    return {p: {u: records.rounded(a) for u, a in row.items()} for p, row in total.items()}


def judge(rows: Sequence[Mapping[str, Any]], claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Verdicts on all claims, corrected for their number. Needs nothing but the record's arms.

    Raises:
        UserError: an arm has no such metric.
    """
    arms = {row["name"]: row for row in rows}
    found = []
    for claim in claims:
        ours, theirs = arms[claim.arm], arms[claim.baseline]
        for row in (ours, theirs):
            if claim.metric not in row["metrics"]:
                raise UserError(
                    f"arm {row['name']} has no metric {claim.metric!r}: it has"
                    f" {', '.join(row['metrics'])}"
                )
        found.append(
            stats.difference(
                ours["metrics"][claim.metric],
                theirs["metrics"][claim.metric],
                ours["items"].get(claim.metric),
                theirs["items"].get(claim.metric),
            )
        )
    adjusted = stats.holm([estimate.p for estimate in found])
    return [
        _judged(claim, estimate, p, arms)
        for claim, estimate, p in zip(claims, found, adjusted, strict=True)
    ]


def _judged(
    claim: Claim, estimate: stats.Estimate, p: float, arms: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    made = stats.verdict(estimate.interval, p, claim.expect)
    differences = [
        a - b
        for a, b in zip(
            arms[claim.arm]["metrics"][claim.metric],
            arms[claim.baseline]["metrics"][claim.metric],
            strict=True,
        )
    ]
    return {
        **claim._asdict(),
        "difference": records.interval_json(estimate.interval),
        "over": estimate.over,
        "p": records.rounded(estimate.p),
        "p_adjusted": records.rounded(p),
        "verdict": made,
        "seeds_needed": stats.seeds_needed(differences),
    }
