"""The demonstration: a small model learns to write programs from tests alone, before one's eyes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pretrial import status
from pretrial.compare import engine
from pretrial.compare.setting import Setting
from pretrial.compare.trial import Data
from pretrial.compare.worker import RESULT, write_json
from pretrial.data.problems.problem import Problem
from pretrial.evaluate.result import Result
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.data.samples import judge
from pretrial.methods.code.coderl.trials import packaged
from pretrial.methods.code.coderl.trials.live import LiveLine, rows_of
from pretrial.methods.code.coderl.trials.page import page_of
from pretrial.methods.code.coderl.trials.trial import OUTCOMES, TESTS_ONLY
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

ARMS = ("warm", "cross-entropy", "coderl")
_BUDGET = Budget(180, "seconds")
_COMPARED = 100  # test problems whose programs are shown before and after


@dataclass(frozen=True)
class Measured:
    """What the demonstration has measured of one arm.

    Attributes:
        unseen: on the test problems.
        tests_only: on training problems that have no reference.
    """

    unseen: Result
    tests_only: Result


def demo(*, out: Path = Path("runs/demo-coderl"), seed: int = 0, rebuild: bool = False) -> None:
    """Teaches a small model to write programs from unit tests, and writes a page of what came out.

    Args:
        out: folder of the run and of the page, report.html; the same command again goes on.
        seed: of everything random.
        rebuild: teach the warm start again, which comes with the package, and keep it there.
    """
    began = time.monotonic()
    console = Console()
    if rebuild:
        packaged.rebuild(out / "rebuild")
        console.print(f"The warm start in {packaged.FOLDER} is made anew.", soft_wrap=True)
        return
    options = {"solved": packaged.SOLVED, "num_samples": 10, "warm_start": str(packaged.FOLDER)}
    setting = Setting(("coderl",), options, seeds=(seed,), arms=ARMS, budget=_BUDGET)
    trial = setting.make()
    with status.task("making the problems"):
        data = trial.data()
    only = len(data.train) - packaged.SOLVED
    console.print(
        f"A T5 of 0.26 M parameters has imitated the {packaged.SOLVED} reference programs that"
        f" there are. For {only:,} more problems there are only tests. For"
        f" {_BUDGET.amount:.0f} seconds it now writes programs for them, runs them, and learns from"
        " what passes; beside it a copy imitates further. About 4 minutes on 2 cores."
    )
    where = engine.Placement(runs=out / "jobs", quiet=True)
    log = engine.job_folder(setting, trial, trial.arm("coderl"), seed, where.runs) / "run"
    with LiveLine(console, log / "metrics.jsonl"):
        engine.hold(setting, where)
    measured = {name: _measured(setting, where, name, seed) for name in ARMS}
    headline = headline_of(measured)
    console.print(f"[bold]{headline}[/bold]", highlight=False)
    unseen = data.test[0][:_COMPARED]
    with status.task("comparing programs before and after"):
        models = [_trained(setting, where, data, name, seed) for name in ("warm", "coderl")]
        compared = _before_and_after(models, unseen, seed)
    page = page_of(
        headline,
        measured,
        {arm.name: arm.label for arm in trial.arms},
        rows_of(log / "metrics.jsonl"),
        compared,
        data.name,
        time.monotonic() - began,
    )
    results = {
        "seed": seed,
        "unseen": {name: found.unseen.to_dict() for name, found in measured.items()},
        "tests_only": {name: found.tests_only.to_dict() for name, found in measured.items()},
        "seconds": round(time.monotonic() - began),
    }
    write_json(out / "results.json", json.loads(json.dumps(results)))
    console.print(
        f"{page.write(out / 'report.html')} shows it all, with programs side by side.",
        soft_wrap=True,
    )


def headline_of(measured: Mapping[str, Measured]) -> str:
    """Both pass rates before and after, and what as many seconds of imitation gave, in words."""

    def rates(of: str) -> tuple[str, ...]:
        values = [getattr(measured[name], of) for name in ("warm", "coderl", "cross-entropy")]
        metrics = [v.metrics["pass@1" if of == "unseen" else TESTS_ONLY].value for v in values]
        return tuple(f"{100 * value:.0f}" for value in metrics)

    before, after, control = rates("tests_only")
    unseen_before, unseen_after, unseen_control = rates("unseen")
    return (
        f"Learning from unit tests alone, programs that pass went from {before} to {after} % on"
        f" problems with tests only (more imitation: {control} %), and from {unseen_before} to"
        f" {unseen_after} % on unseen problems (more imitation: {unseen_control} %)."
    )


def _trained(setting: Setting, where: engine.Placement, data: Data, name: str, seed: int) -> CodeRL:
    """The model of an arm, from the folder of its finished job."""
    trial = setting.make()
    prepared = engine.job_folder(setting, trial, None, seed, where.runs) / "prepared"
    arm = trial.arm(name)
    problems = CodeRL.read(data.train)
    model = CodeRL.build(arm.config, source=prepared, data=problems)
    if arm.trains:
        folder = engine.job_folder(setting, trial, arm, seed, where.runs) / "run"
        train(model, Run(folder, problems, budget=trial.budget, seed=seed, quiet=True))
    return model


def _measured(setting: Setting, where: engine.Placement, name: str, seed: int) -> Measured:
    """What the trial has measured of an arm."""
    trial = setting.make()
    folder = engine.job_folder(setting, trial, trial.arm(name), seed, where.runs)
    found = json.loads((folder / RESULT).read_text())
    items: dict[str, Any] = dict(found["items"])
    outcomes = {o.name: found["metrics"][f"share of {o.name}"] for o in OUTCOMES}
    tests_only = Result.of_items({TESTS_ONLY: items.pop(TESTS_ONLY)}, {}, seed)
    return Measured(Result.of_items(items, {"outcomes": outcomes}, seed), tests_only)


def _before_and_after(
    models: Sequence[CodeRL], problems: Sequence[Problem], seed: int
) -> list[tuple[Problem, list[Any]]]:
    """Greedy programs of both models with their verdicts, where the outcomes differ."""
    programs = []
    for model in models:
        generator = torch.Generator().manual_seed(seed)
        groups = model.generate_programs(problems, 1, greedy=True, generator=generator)
        with model.runner() as runner:
            verdicts = judge(problems, groups, runner, model.limits, visible=False)
        programs.append([(g[0], v[0]) for g, v in zip(groups, verdicts, strict=True)])
    return [
        (problem, [before, later])
        for problem, before, later in zip(problems, *programs, strict=True)
        if before[1].outcome != later[1].outcome
    ]
