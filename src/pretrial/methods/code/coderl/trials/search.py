"""Critic sampling on trial: as many programs a problem, written plainly or by searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pretrial.compare.trial import Arm, Context, Gate, Role, Trial
from pretrial.evaluate.auc import roc_auc
from pretrial.evaluate.passk import measure_programs
from pretrial.evaluate.search import measure_search
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.abilities.choosing import ByCritic, ByLikelihood, Chooser
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.samples import execute
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

TOTAL = 32  # programs a problem, however they are written
METRIC = f"1@{TOTAL}"
_JUDGED = 20  # programs a problem on which the scores are judged
_NOTES = (
    f"{METRIC}: of {TOTAL} programs a problem, those that pass the example test are kept and one of"
    " them is submitted. A search writes half of them first, and goes on from these for the other"
    " half; the first half stays among the candidates.",
    "All searches use one model, CodeRL resampled with replay, and its critic and repair model,"
    " which have learnt from the final model's programs. The verdict is of the default, which goes"
    " by the model's own likelihood.",
    "AUC: the chance that a program that passes the hidden tests scores above one of the same"
    " problem that does not.",
)


def search_trial(config: Config, data: Any, test: int, budget: Budget, warm: Any) -> Trial:
    """The trial.

    Args:
        config: of the model that is searched with, after its warm start.
        data: makes problems to train on, and unseen ones.
        test: unseen problems to search for.
        budget: of training after the warm start.
        warm: prepares the warm start of a seed in a folder.
    """

    def prepare(seed: int, folder: Path) -> Spent:
        spent: Spent = warm(seed, folder / "warm")
        problems = CodeRL.read(data().train)
        model = CodeRL.build(config, source=folder / "warm", data=problems)
        run = Run(folder / "search-run", problems, budget=budget, seed=seed, quiet=True)
        train(model, run)
        model.save(folder)
        for purpose, amounts in run.spent.by_purpose.items():
            spent.add(purpose, **amounts)
        return spent

    def arm(name: str, label: str, role: Role, **how: Any) -> Arm:
        def run(context: Context) -> Any:
            model = CodeRL.build(config, source=context.prepared)
            return _measured(model, context.data.test[0][:test], context.run.seed, how)

        default = role != "ablation"
        return Arm(name, label, role, run=run, trains=False, default=default)

    return Trial(
        question="At as many programs, does searching by likelihood beat plain sampling?",
        data=data,
        arms=(
            arm("likelihood", "search by likelihood", "method", choose="likelihood"),
            arm("plain", "plain sampling", "baseline"),
            arm("critic", "search by the critic", "method", choose="critic"),
            arm("chance", "search at random", "baseline", choose="random"),
            arm("refine", "refining only", "ablation", choose="likelihood", kinds="refine"),
            arm("repair", "repairing only", "ablation", choose="likelihood", kinds="repair"),
        ),
        measure=lambda method, data, seed: method,
        metric=METRIC,
        direction="higher",
        budget=budget,
        useful=0.02,
        gate=Gate(ceiling=1.0),
        baseline="plain",
        claims=(
            ("likelihood", "plain", METRIC, "higher"),
            ("likelihood", "chance", METRIC, "higher"),
            ("critic", "plain", METRIC, "higher"),
            ("critic", "chance", METRIC, "higher"),
        ),
        prepare=prepare,
        notes=_NOTES,
        name="search",
    )


def _measured(
    model: CodeRL, problems: Sequence[Any], seed: int, how: dict[str, Any]
) -> dict[str, Any]:
    """n@k and pass@1 of as many programs; of a chooser also how well it tells what passes."""
    options: dict[str, Any] = {"k": (1,), "n": (1, 5), "seed": seed, "seconds": 2.0}
    if not how:
        found = measure_programs(model, problems, num_samples=TOTAL, **options)
        return dict(found.items)
    found = measure_search(model, problems, num_samples=TOTAL // 2, **options, **how)
    return dict(found.items) | _ranking(model, problems, seed, how["choose"])


def _ranking(model: CodeRL, problems: Sequence[Any], seed: int, choose: str) -> dict[str, float]:
    """Mean AUC of the chooser over problems of which some programs pass and some do not."""
    if choose == "random":
        return {"AUC": 0.5}
    assert model.checker is not None, "the course has trained it"
    chooser: Chooser = ByCritic(model.checker) if choose == "critic" else ByLikelihood(model.actor)
    generator = torch.Generator().manual_seed(seed)
    how: dict[str, Any] = {"num_samples": _JUDGED, "temperature": 1.0, "top_p": 1.0}
    groups = model.actor.draw(problems, generator, greedy=False, **how)
    programs = model.actor.programs(problems, groups)
    with model.runner() as runner:
        samples = execute(problems, groups, programs, runner, model.limits, greedy=False)
    areas = []
    for place, problem in enumerate(problems):
        own = samples[place * _JUDGED : (place + 1) * _JUDGED]
        scores = chooser.scores(model.actor.problem_ids(problem), [s.ids for s in own])
        good = [score for s, score in zip(own, scores, strict=True) if s.passed]
        bad = [score for s, score in zip(own, scores, strict=True) if not s.passed]
        areas += [roc_auc(good, bad)] if good and bad else []
    return {"AUC": sum(areas) / len(areas)} if areas else {}
