"""The demonstration: from nothing, a model learns to write programs, beside its controls."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pretrial.compare import engine
from pretrial.compare.report.page import Page, Tag
from pretrial.compare.report.plots import Bars, Points, Stacked
from pretrial.compare.setting import Setting
from pretrial.compare.trial import Data
from pretrial.compare.worker import RESULT, write_json
from pretrial.data.problems.problem import Problem
from pretrial.evaluate.intervals import Interval, bootstrap_difference
from pretrial.evaluate.passk import measure_programs
from pretrial.evaluate.result import Result
from pretrial.evaluate.search import measure_search
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.abilities.critic_quality import Quality, critic_quality
from pretrial.methods.code.coderl.data.samples import execute, judge
from pretrial.methods.code.coderl.trials.trial import OUTCOMES
from pretrial.train.loop import train
from pretrial.train.run import Run

ARMS = ("warm", "cross-entropy", "rejection", "coderl")
_SEARCHED = 100  # test problems of the comparison of searches, which writes many programs
_TOTAL = 32  # programs a problem in that comparison, however they are written


def demo(*, out: Path = Path("runs/demo-coderl"), seed: int = 0) -> None:
    """Trains CodeRL and its controls on generated problems, and writes a page of what came out.

    Args:
        out: folder of the run and of the page, report.html; the same command again goes on.
        seed: of everything random.
    """
    began = time.monotonic()
    console = Console()
    setting = Setting(("coderl",), {"with_search": True}, seeds=(seed,), arms=ARMS)
    trial = setting.make()
    console.print(
        "Teaching a T5 of 0.6 M parameters to write programs: imitation first, then in three ways"
        f" for {trial.budget.amount:.0f} steps each. About 8 minutes on 2 cores."
    )
    where = engine.Placement(runs=out / "jobs")
    engine.hold(setting, where)
    data = trial.data()
    measured = {name: _measured(setting, where, name, seed) for name in ARMS}
    warm, model = (_trained(setting, where, data, name, seed) for name in ("warm", "coderl"))
    searches = _searches(model, data.test[:_SEARCHED], seed)
    labels = {arm.name: arm.label for arm in trial.arms}
    _print_tables(console, measured, searches, labels)
    quality = _critic(model, data.test[:_SEARCHED], seed)
    pairs = _before_and_after(warm, model, data.test, seed)
    page = _page(measured, searches, labels, pairs, data, time.monotonic() - began, quality)
    results = {
        "seed": seed,
        "plain": {name: result.to_dict() for name, result in measured.items()},
        "search": {name: result.to_dict() for name, result in searches.items()},
        "critic": [asdict(q) for q in quality],
        "seconds": round(time.monotonic() - began),
    }
    write_json(out / "results.json", json.loads(json.dumps(results)))
    console.print(f"{page.write(out / 'report.html')} shows it all, with programs side by side.")


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


def _measured(setting: Setting, where: engine.Placement, name: str, seed: int) -> Result:
    """What the trial has measured of an arm."""
    trial = setting.make()
    folder = engine.job_folder(setting, trial, trial.arm(name), seed, where.runs)
    found = json.loads((folder / RESULT).read_text())
    outcomes = {o.name: found["metrics"][f"share of {o.name}"] for o in OUTCOMES}
    return Result.of_items(found["items"], {"outcomes": outcomes}, seed)


def _searches(model: CodeRL, problems: Sequence[Problem], seed: int) -> dict[str, Result]:
    """As many programs a problem in all, written plainly and by critic sampling."""
    half = _TOTAL // 2
    options: dict[str, Any] = {"k": (1, 5), "n": (1, 5), "seed": seed, "seconds": 2.0}
    return {
        f"plain sampling, {_TOTAL}": measure_programs(
            model, problems, num_samples=_TOTAL, **options
        ),
        f"critic sampling, {half} + {half}": measure_search(
            model, problems, num_samples=half, **options
        ),
        f"the same, choosing at random, {half} + {half}": measure_search(
            model, problems, num_samples=half, choose="random", **options
        ),
        f"refining only, {half} + {half}": measure_search(
            model, problems, num_samples=half, kinds="refine", **options
        ),
        f"repairing only, {half} + {half}": measure_search(
            model, problems, num_samples=half, kinds="repair", **options
        ),
    }


def _critic(model: CodeRL, problems: Sequence[Problem], seed: int) -> list[Quality]:
    """The binary critic on new programs for test problems."""
    assert model.checker is not None, "the arm trains it"
    generator = torch.Generator().manual_seed(seed)
    groups = model.actor.draw(problems, generator, num_samples=5, temperature=0.6, top_p=0.95)
    programs = model.actor.programs(problems, groups)
    with model.runner() as runner:
        samples = execute(problems, groups, programs, runner, model.limits)
    return critic_quality(model.checker, problems, samples)


def _print_tables(
    console: Console,
    plain: Mapping[str, Result],
    searches: Mapping[str, Result],
    labels: Mapping[str, str],
) -> None:
    table = Table("model", "pass@1", "pass@5", title="Hidden tests of unseen problems, %")
    for name, result in plain.items():
        cells = [_percent(result.metrics[metric]) for metric in ("pass@1", "pass@5")]
        table.add_row(labels[name], *cells)
    console.print(table)
    metrics = ("pass@1", f"1@{_TOTAL}", f"5@{_TOTAL}")
    table = Table("search with the CodeRL model", *metrics, title="Equal numbers of programs, %")
    for label, result in searches.items():
        table.add_row(label, *(_percent(result.metrics[metric]) for metric in metrics))
    console.print(table)


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _before_and_after(
    warm: CodeRL, after: CodeRL, problems: Sequence[Problem], seed: int
) -> list[tuple[Problem, list[Any]]]:
    """Greedy programs of both models with their verdicts, where the outcomes differ."""
    programs = []
    for model in (warm, after):
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


def _verdict(difference: Interval) -> str:
    if difference.low > 0:
        return "CodeRL is better on these problems"
    if difference.high < 0:
        return "CodeRL is **worse** on these problems"
    return "no difference is shown on these problems"


def _page(
    plain: Mapping[str, Result],
    searches: Mapping[str, Result],
    labels: Mapping[str, str],
    pairs: Sequence[tuple[Problem, list[Any]]],
    data: Data,
    seconds: float,
    quality: Sequence[Quality] = (),
) -> Page:
    page = Page("CodeRL: learning to write programs from unit tests", lead=data.name)
    metrics = ("pass@1", "pass@5")
    page.heading("Does it help?")
    page.table(
        ["model", *metrics],
        [[labels[name], *(result.metrics[m] for m in metrics)] for name, result in plain.items()],
        caption="20 programs a problem, temperature 0.6; 95 % bootstrap intervals over problems.",
        strong=[len(plain) - 1],
    )
    differences = {
        f"{metric}, against {labels[name]}": bootstrap_difference(
            plain["coderl"].items[metric], plain[name].items[metric]
        )
        for metric in metrics
        for name in plain
        if name != "coderl"
    }
    page.plot(Points(differences, "CodeRL minus control", title="Paired differences"))
    page.bullets(*(f"{label}: {_verdict(value)}." for label, value in differences.items()))
    page.text(
        "One seed: the intervals say how sure these two models differ on problems like these, not"
        " how another training would end. `pretrial trial coderl` runs several seeds."
    )
    _search_section(page, searches, quality)
    page.heading("What became of the programs")
    page.plot(
        Stacked(
            {
                labels[name]: {
                    k.lower().replace("_", " "): v for k, v in r.notes["outcomes"].items()
                }
                for name, r in plain.items()
            }
        )
    )
    _before_after_section(page, pairs, len(data.test))
    page.footer(f"Made by `pretrial demo coderl` in {seconds / 60:.1f} minutes.")
    return page


def _search_section(page: Page, searches: Mapping[str, Result], quality: Sequence[Quality]) -> None:
    """The searches at equal numbers of programs, and the critic that guides them."""
    page.heading("Plain against critic sampling")
    names = ("pass@1", f"1@{_TOTAL}", f"5@{_TOTAL}")
    page.table(
        ["search", *names],
        [[label, *(result.metrics[m] for m in names)] for label, result in searches.items()],
        caption=f"n@{_TOTAL}: of {_TOTAL} programs those that pass the example tests are kept and n"
        " of them submitted. Programs of the first round stay among the candidates.",
    )
    page.plot(Bars(names, {label: [r.metrics[m] for m in names] for label, r in searches.items()}))
    if quality:
        page.heading("The binary critic")
        page.table(
            ["of the program read", "accuracy", "always the commoner outcome", "AUC"],
            [[f"{q.fraction:.0%}", q.accuracy, q.majority_accuracy, q.auc] for q in quality],
            caption="On programs that the CodeRL model wrote for test problems.",
        )


def _before_after_section(
    page: Page, pairs: Sequence[tuple[Problem, list[Any]]], num_test: int
) -> None:
    """Programs that came to be solved, and such that no longer are, side by side."""
    page.heading("Before and after")
    gained = [pair for pair in pairs if pair[1][1][1].passed]
    lost = [pair for pair in pairs if pair[1][0][1].passed]
    page.text(
        f"Greedy programs of the warm start and after CodeRL: of {num_test} test problems"
        f" {len(gained)} are newly solved, {len(lost)} no longer. The first few of each:"
    )
    for problem, ((before, was), (after, became)) in [*gained[:6], *lost[:3]]:
        page.text(f"`{problem.question.splitlines()[0]}`")
        page.code_side_by_side(before, after, ("warm start", "CodeRL"), (_tag(was), _tag(became)))


def _plain(outcome: str) -> str:
    return outcome.lower().replace("_", " ")


def _tag(verdict: Any) -> Tag:
    return Tag(_plain(verdict.outcome.name), "good" if verdict.passed else "bad")
