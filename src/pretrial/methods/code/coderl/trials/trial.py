"""CodeRL on trial: does learning from tests beat imitating references for as many seconds?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pretrial.compare.trial import Arm, Context, Data, Gate, Role, Trial, Tuning
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.errors import UserError
from pretrial.evaluate.passk import measure_programs
from pretrial.evaluate.result import Result
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.trials.nearest import NearestReference
from pretrial.sandbox import Outcome
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

OUTCOMES = [outcome for outcome in Outcome if outcome >= 0]
SECONDS = 150  # of one arm: about 300 steps with four samplings on one core
TESTS_ONLY = "pass@1 on problems with tests only"
_NUM_TESTS_ONLY = 300  # training problems without references that are measured too
_WARM_ONLY: dict[str, Any] = {
    "rl_steps": 0,
    "rl_epochs": 0.0,
    "checker_epochs": 0.0,
    "repair_epochs": 0.0,
}

_NOTES = (
    "Equal seconds of one core after one warm start: those of sampling, execution and the critic"
    " count. More imitation takes more steps in them.",
    '"CodeRL, resampled with replay" is our course: programs are sampled anew from the current'
    ' actor, for problems that nothing solves yet. "CodeRL as published" samples once, for all'
    " problems, and weighs tokens by a critic. The verdict speaks of the first.",
    "A T5 of 0.26 M parameters on generated problems of which few have references, far from the"
    " paper's 770 M on APPS. Where many have some, imitation gains as much (docs/coderl.md).",
    "Rejection fine-tuning imitates the model's own passing programs, sampled as CodeRL does: it"
    " tells what comes of sampling from what comes of failed programs.",
)


def trial(
    *,
    num_train: int = 2500,
    solved: int = 400,
    num_test: int = 300,
    num_samples: int = 20,
    warm_start: str = "",
    with_search: bool = False,
) -> Trial:
    """Puts CodeRL on trial on generated problems.

    Args:
        num_train: training problems.
        solved: those of them that have reference programs; the others have tests only.
        num_test: test problems, whose compositions of operations are not in training.
        num_samples: programs a test problem for pass@1 and pass@5.
        warm_start: folder of a model to go on from; "" teaches one by imitation first, for each
            seed.
        with_search: also train the parts of critic sampling in the arm of CodeRL.
    """
    bare = warm_config(solved)
    last = replace(bare, warmup_epochs=0.0, rl_steps=Config.small().rl_steps)
    small = Config.small()
    searching = {"checker_epochs": small.checker_epochs, "repair_epochs": small.repair_epochs}

    def data() -> Data:
        made = problems_of(num_train, solved, num_test)
        return Data(
            train=[problem.to_row() for problem in made.train],
            test=(made.test, [p for p in made.train if not p.solutions][:_NUM_TESTS_ONLY]),
            name=f"mini-APPS: {num_train} problems, {solved} with solutions; {num_test} for test",
        )

    def measure(method: Any, data: Data, seed: int) -> dict[str, Any]:
        return measured(method, data, seed, num_samples)

    return Trial(
        question="From the same warm start, does learning from unit tests beat more imitation?",
        data=data,
        arms=_arms(last, searching if with_search else {}, measure),
        measure=measure,
        metric="pass@1",
        direction="higher",
        budget=Budget(SECONDS, "seconds"),
        useful=0.02,
        gate=Gate(trivial=("nearest",), ceiling=1.0),
        tuning=Tuning((1e-3, 2e-3, 4e-3), "rl_lr"),
        claims=(
            ("coderl", "cross-entropy", "pass@1", "higher"),
            ("coderl", "cross-entropy", "pass@5", "higher"),
            ("coderl", "cross-entropy", TESTS_ONLY, "higher"),
        ),
        prepare=partial(_warm_start, bare, data, warm_start),
        packages=("sklearn",),
        notes=_NOTES,
    )


def warm_config(solved: int) -> Config:
    """The settings of the warm start: as many steps of imitation whatever the references."""
    small = Config.small()
    return replace(small, warmup_epochs=small.warmup_epochs * 800 / solved, **_WARM_ONLY)


def problems_of(num_train: int, solved: int, num_test: int) -> Any:
    """Problems whose references are written step by step; statements show one example."""
    return mini_apps(
        num_train=num_train, num_test=num_test, solved=solved, num_examples=1, ways="steps"
    )


def measured(method: Any, data: Data, seed: int, num_samples: int) -> dict[str, Any]:
    """pass@k on unseen problems, what became of the programs, and pass@1 without references."""
    unseen, tests_only = data.test
    how: dict[str, Any] = {"seed": seed, "seconds": 2.0}
    result = measure_programs(method, unseen, num_samples=num_samples, k=(1, 5), **how)
    known = measure_programs(method, tests_only, num_samples=4, k=(1,), **how)
    return _metrics(result) | {TESTS_ONLY: known.items["pass@1"]}


def _metrics(result: Result) -> dict[str, Any]:
    shares = {f"share of {o.name}": result.notes["outcomes"].get(o.name, 0.0) for o in OUTCOMES}
    return dict(result.items) | shares


def _warm_start(
    config: Config, data: Callable[[], Data], given: str, seed: int, folder: Path
) -> Spent:
    """Trains by imitation what all arms of a seed go on from, or takes what is given."""
    if given:
        if not Path(given).is_dir():
            raise UserError(f"--warm-start {given} is no folder: give one that a run has saved")
        shutil.copytree(given, folder, dirs_exist_ok=True)
        return Spent()
    problems = CodeRL.read(data().train)
    warm = CodeRL.build(config, data=problems)
    run = Run(folder / "run", problems, seed=seed, quiet=True)
    train(warm, run)
    warm.save(folder)
    return run.spent


def _arms(last: Config, searching: dict[str, Any], measure: Any) -> tuple[Arm, ...]:
    """The sides, which differ in the last phase; `searching` has what critic sampling needs."""

    def arm(name: str, label: str, role: Role, base: Config = last, **changes: Any) -> Arm:
        trains = changes.get("rl_steps", base.rl_steps) > 0
        config = replace(base, **changes)
        return Arm(name, label, role, "coderl", config, trains=trains, default=role != "ablation")

    def nearest(context: Context) -> Any:
        answers = NearestReference(CodeRL.read(context.data.train))
        return measure(answers, context.data, context.run.seed)

    def ablation(name: str, label: str, base: Config, **changes: Any) -> Arm:
        return arm(name, label, "ablation", base, **changes)

    published, ones = last.as_published(), replace(last, token_weights="ones")
    return (
        arm("coderl", "CodeRL, resampled with replay", "method", **searching),
        arm("cross-entropy", "more imitation", "baseline", objective="cross-entropy"),
        arm("published", "CodeRL as published", "control", published),
        arm("rejection", "rejection fine-tuning, resampled", "control", objective="rejection"),
        arm("no-references", "CodeRL without references", "control", ce_weight=0.0),
        arm("warm", "warm start", "control", rl_steps=0, rl_epochs=0.0),
        Arm("nearest", "nearest reference", "control", run=nearest, trains=False),
        # What our course is made of
        ablation("once", "sampled once", last, resample_every=0),
        ablation("no-replay", "without replay", last, replay=False),
        ablation("explore-all", "sampling solved problems too", last, explore="all"),
        ablation("ones", "returns without credit", ones),
        ablation("critic", "credit by the paper's critic", last, token_weights="critic"),
        ablation("group", "group mean (GRPO)", ones, returns="group"),
        ablation("leave-one-out", "mean of the others (RLOO)", ones, returns="leave-one-out"),
        ablation("share", "share of tests, group mean", ones, returns="group", reward="share"),
        ablation("clip", "clipped as PPO", last, clip=0.2),
        ablation("kl", "held near to the warm start", last, kl_weight=0.05),
        # What the paper's course is made of
        ablation("absolute", "as published, no baseline", published, returns="absolute"),
        ablation("published-ones", "as published, weights 1", published, token_weights="ones"),
        ablation("linear", "as published, falling weights", published, token_weights="linear"),
        ablation("rl-only", "as published, policy gradient only", published, ce_weight=0.0),
    )
