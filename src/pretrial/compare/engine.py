"""The trial engine: pilots and gate, looks until it is decided, then what else there is to show.

A trial runs in this order, each step as jobs in processes of their own:

1. the trivial arms run on two pilot seeds, and every arm chooses its learning rate on the first of
   them, where the trial has a `tuning`;
2. the baseline runs on both: the gate and the premise;
3. the primary pair runs on seeds 0, 1, ... with looks at 5, 8, 12 and 16 of them;
4. other methods and baselines run on five seeds, as do ablations that were named, and controls
   on two.

With fewer than five seeds nothing can be decided, so that steps 1 and 2 are left out, and all arms
run on the seeds that there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pretrial import status
from pretrial.compare import judging, sequential
from pretrial.compare import record as records
from pretrial.compare.jobs import Job, Local, OnRay
from pretrial.compare.numbers import rounded
from pretrial.compare.ranking import rank
from pretrial.compare.recording import Results, arm_row, groups_of, make_record
from pretrial.compare.setting import Setting
from pretrial.compare.so_far import Renew
from pretrial.compare.telling import Told, result_of, say
from pretrial.compare.times import covered
from pretrial.compare.trial import Arm, Claim, Gate, Trial
from pretrial.compare.worker import write_json
from pretrial.environment import cores
from pretrial.errors import require_packages

#: Seeds that choose learning rates and open the gate; they do not count.
PILOTS = (9001, 9002)
_CONTROL_SEEDS = 2


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


def hold(
    setting: Setting, placement: Placement, command: str = "", renew: Renew | None = None
) -> dict[str, Any]:
    """Runs a trial, or what is left of it, and judges it.

    Args:
        setting: what is tried; with no seeds or arms, the trial's own.
        placement: where it runs.
        command: the command line, for the record.
        renew: told what there is, each time that a job has ended.

    Returns:
        The record, which fits the schema.

    Raises:
        UserError: a package is missing, a job failed, the trial was stopped, or the arms had
            unequal budgets.
    """
    trial = setting.make()
    cluster = ("ray",) if placement.on == "ray" else ()
    require_packages("scipy", "jsonschema", *cluster, *trial.packages)
    arms = trial.choose(setting.arms)
    setting = dataclasses.replace(
        setting,
        seeds=setting.seeds or trial.seeds(),
        arms=tuple(arm.name for arm in arms),
        budget=trial.budget,
    )
    methods = dict.fromkeys([*setting.slugs, *(arm.method for arm in arms if arm.method)])
    pool: Local | OnRay = (
        OnRay() if placement.on == "ray" else Local(placement.workers or cores(), tuple(methods))
    )
    with pool:
        course = Course(setting, trial, placement, pool, renew)
        outcome = _run(course, arms)
    outcome["chosen"], outcome["tried"] = course.chosen, course.tried
    if outcome.get("looks"):  # held again, the trial ends at the same look
        setting = dataclasses.replace(setting, seeds=setting.seeds[: outcome["looks"][-1]["seeds"]])
    made = make_record(setting, trial, course.results, outcome)
    made["command"] = command
    made["wall_seconds"] = round(covered(course.folders), 3)
    records.check(made)
    return made


def _run(course: Course, arms: Sequence[Arm]) -> dict[str, Any]:
    """All steps of a trial; what they decided, as the record has it."""
    trial, seeds = course.trial, course.setting.seeds
    claims = trial.claims_of(arms)
    if len(seeds) < sequential.FEWEST or not claims:
        seeds = seeds[: sequential.FEWEST]
        course.run([(arm, seed) for seed in seeds for arm in arms])
        return {"useful": 0.0 if trial.relative else trial.useful}
    floor = [trial.arm(name) for name in trial.gate.trivial]
    others = [arm for arm in arms if arm not in floor]
    # what has to be beaten is cheap, and known before anything is paid for
    course.run([(arm, seed) for seed in PILOTS for arm in floor if not arm.trains])
    if course.compares:
        course.tune(others)
        outcome = _pilots(course, trial.reference(), floor)
        outcome["looks"] = course.look_at_all(others, outcome["useful"])
        return outcome
    pair = [trial.arm(name) for name in claims[0][:2]]
    course.tune(pair)
    outcome = _pilots(course, pair[1], floor)
    if all(found is None or found["passed"] for found in (outcome["gate"], outcome["premise"])):
        outcome["looks"] = course.look(claims[0], outcome["useful"])
        others = [arm for arm in others if arm not in pair]
        course.tune(others)
        course.run(
            [
                (arm, seed)
                for seed in seeds[: sequential.FEWEST]
                for arm in others
                if arm.role != "control" or seed in seeds[:_CONTROL_SEEDS]
            ]
        )
    return outcome


def _pilots(course: Course, baseline: Arm, floor: Sequence[Arm]) -> dict[str, Any]:
    """The gate and the premise, and what is useful, from two pilot seeds of the baseline."""
    trial = course.trial
    if trial.gate == Gate() and trial.premise is None and not trial.relative:
        return {"useful": trial.useful, "gate": None, "premise": None}
    shown = [baseline, *floor]
    course.run([(arm, seed) for seed in PILOTS for arm in shown])
    rows = [arm_row(arm, PILOTS, course.results) for arm in shown]
    reached = rows[0]["metrics"][trial.metric]
    useful = trial.useful
    if trial.relative:
        useful = rounded(trial.useful * abs(sum(reached) / len(reached)))
    gate = judging.open_gate(rows, trial.gate, trial.metric, trial.direction, useful)
    premise = trial.premise and judging.check_premise(rows[0], trial.premise)
    return {"useful": useful, "gate": gate, "premise": premise}


@dataclass
class Course:
    """The jobs of a trial as it goes, and their results by arm and seed ("" is a preparation).

    `ended` has each result as soon as it is there, those of tried settings included.
    """

    setting: Setting
    trial: Trial
    placement: Placement
    pool: Local | OnRay
    renew: Renew | None = None
    ended: Results = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    results: Results = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    tried: dict[str, list[float]] = field(default_factory=dict)
    prepared: dict[int, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tuning = self.trial.tuning
        if tuning is not None and len(tuning.values) == 1:  # there is nothing to choose
            own = [arm.name for arm in self.trial.arms if arm.trains]
            self.chosen |= {name: {tuning.field: tuning.values[0]} for name in own}

    @property
    def compares(self) -> bool:
        """Whether several methods are set side by side."""
        return len(self.setting.slugs) > 1

    def run(self, pairs: Sequence[tuple[Arm, int]]) -> None:
        """Runs arms with seeds, in that order, and keeps their results."""
        left = [(arm, seed) for arm, seed in pairs if (arm.name, seed) not in self.results]
        found = self._done([(arm, seed, self.chosen.get(arm.name, {})) for arm, seed in left])
        for (arm, seed), result in zip(left, found, strict=True):
            self.results[arm.name, seed] = result

    def tune(self, arms: Sequence[Arm]) -> None:
        """Lets each arm that trains choose a setting on the first pilot seed."""
        tuning, seed = self.trial.tuning, PILOTS[0]
        arms = [arm for arm in arms if arm.trains and arm.name not in self.chosen]
        if tuning is None or not arms:
            return
        tried = [(arm, value) for arm in arms for value in tuning.values]
        found = self._done([(arm, seed, {tuning.field: value}) for arm, value in tried])
        sign = 1 if self.trial.direction == "higher" else -1
        for arm in arms:
            own = [r for (other, _), r in zip(tried, found, strict=True) if other is arm]
            reached = [result["metrics"][self.trial.metric] for result in own]
            best = max(range(len(own)), key=lambda i: sign * reached[i])
            self.chosen[arm.name] = {tuning.field: tuning.values[best]}
            self.results[arm.name, seed] = own[best]
            self.tried[arm.name] = reached

    def look(self, claim: Claim, useful: float) -> list[dict[str, Any]]:
        """Runs the primary pair, more seeds each time, until a look decides or is the last."""
        pair = [self.trial.arm(name) for name in (claim.arm, claim.baseline)]

        def judge(seeds: Sequence[int]) -> dict[str, Any]:
            rows = [arm_row(arm, seeds, self.results) for arm in pair]
            return judging.look(rows, claim, len(seeds), useful, groups_of(self.results))

        return self._looks(pair, judge)

    def look_at_all(self, arms: Sequence[Arm], useful: float) -> list[dict[str, Any]]:
        """The same for all arms, until each is told apart from the best or is about equal."""

        def judge(seeds: Sequence[int]) -> dict[str, Any]:
            rows = [arm_row(arm, seeds, self.results) for arm in arms]
            ranked = rank(
                {
                    "arms": rows,
                    "metric": self.trial.metric,
                    "direction": self.trial.direction,
                    "useful": {"value": useful},
                    "groups": groups_of(self.results),
                    "budget": {"unit": self.trial.budget.unit},
                }
            )
            settled = all(each.told_apart or each.about_equal for each in ranked[1:])
            return {"seeds": len(seeds), "decision": "settled" if settled else None}

        return self._looks(arms, judge)

    def _looks(
        self, arms: Sequence[Arm], judge: Callable[[Sequence[int]], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        looks = self.looks
        for at in sequential.looks_up_to(len(self.setting.seeds)):
            seeds = self.setting.seeds[: at.seeds]
            self.run([(arm, seed) for seed in seeds for arm in arms])
            looks.append(judge(seeds))
            decision = looks[-1]["decision"] or "not decided"
            say(self.placement, f"look at {at.seeds} seeds: {decision}")
            if looks[-1]["decision"]:
                break
        return looks

    def _done(self, work: Sequence[tuple[Arm, int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """The results of arms with seeds and chosen settings, in that order."""
        jobs: list[Job] = []
        own: list[Job] = []
        new: dict[int, Job] = {}
        for arm, seed, chosen in work:
            if self.trial.prepare and seed not in self.prepared:
                self.prepared[seed] = new[seed] = self.job(None, seed, {})
                jobs.append(new[seed])
            own.append(self.job(arm, seed, chosen))
            jobs.append(own[-1])
        if any(not job.done for job in jobs):
            say(self.placement, f"{len(jobs)} jobs, logs in {self.placement.runs}")
        owners = {
            job.folder: (arm.name, seed) for job, (arm, seed, _) in zip(own, work, strict=True)
        }
        self.ended |= {owners[job.folder]: result_of(job) for job in own if job.done}
        left = sum(not job.done for job in jobs)
        task = status.Task(f"{left} jobs of the trial", left)
        with nullcontext() if self.placement.quiet else status.showing(task):
            self.pool.run(jobs, Told(self, jobs, owners, task))
        self.folders += [job.folder for job in jobs]
        results = {job.folder: result_of(job) for job in jobs}
        for seed, job in new.items():
            self.results["", seed] = results[job.folder]
        return [results[job.folder] for job in jobs if job not in new.values()]

    def job(self, arm: Arm | None, seed: int, chosen: Mapping[str, Any]) -> Job:
        """The job of an arm with these settings, or for None the preparation of a seed."""
        tuned = arm and arm.with_chosen(chosen)
        folder = job_folder(self.setting, self.trial, tuned, seed, self.placement.runs, chosen)
        folder.mkdir(parents=True, exist_ok=True)
        needs = self.prepared.get(seed) if arm else None
        work = {
            "setting": self.setting.to_json(),
            "arm": arm.name if arm else None,
            "seed": seed,
            "prepared": str(needs.folder) if needs else None,
            "chosen": dict(chosen),
        }
        write_json(folder / "job.json", work)
        told = "".join(f", {name} {value}" for name, value in chosen.items())
        return Job(f"{arm.name if arm else 'prepare'}, seed {seed}{told}", folder, needs)


def job_folder(
    setting: Setting,
    trial: Trial,
    arm: Arm | None,
    seed: int,
    runs: Path,
    chosen: Mapping[str, Any] | None = None,
) -> Path:
    """Where the job of an arm works, or for None the preparation of a seed.

    Holds `run`, the arm's run, or `prepared`, what the preparation has filled.
    """
    work = f"seed{seed}-{setting.digest(trial, arm, seed, chosen or {})}"
    folder = runs.absolute() / setting.lead
    # the arm may have had another name in another trial
    known = next(iter(sorted(folder.glob(f"*-{work}"))), None)
    return known or folder / f"{arm.name if arm else 'prepare'}-{work}"
