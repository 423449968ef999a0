"""CodeRL on trial: does learning from tests beat imitating references for as many seconds?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pretrial.compare.kit.arms import ablations
from pretrial.compare.trial import Arm, Context, Data, Gate, Role, Trial, Tuning
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.errors import UserError
from pretrial.evaluate.passk import measure_programs
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.trials.nearest import NearestReference
from pretrial.methods.code.coderl.trials.search import search_trial
from pretrial.sandbox import Outcome
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

OUTCOMES = [outcome for outcome in Outcome if outcome >= 0]
SECONDS = 300  # of one arm: about 600 steps with eight samplings on one core
TESTS_ONLY = "pass@1 on problems with tests only"
_REFERENCES = 800  # for which `Config.small` has its epochs of warm-up
_COURSE = ("explore", "replay", "returns", "token_weights", "resample_problems", "checker_on")
_SEARCHED = 150  # test problems that the searches write many programs for
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
    "The references and the seconds were chosen after single runs of both sides on a pilot seed,"
    " which does not count: with half the time the gain was smaller.",
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
    which: Literal["course", "search"] = "course",
    tiny: bool = False,
) -> Trial:
    """Does learning from tests beat more imitation? Or: does critic sampling beat plain sampling?

    Args:
        num_train: training problems.
        solved: those of them that have reference programs; the others have tests only.
        num_test: test problems, whose compositions of operations are not in training.
        num_samples: programs a test problem for pass@1 and pass@5.
        warm_start: folder of a model to go on from; "" teaches one by imitation first, for each
            seed.
        which: what is on trial: the course of training, or the search of a trained model, whose
            trial has a record of its own.
        tiny: a network and data small enough for a test, and a few steps instead of seconds.
    """
    if tiny:
        num_train, solved, num_test, num_samples = 16, 12, 4, 5
    base, budget = (_tiny(), Budget(4)) if tiny else (Config.small(), Budget(SECONDS, "seconds"))
    bare = warm_config(solved, base)
    last = replace(bare, warmup_epochs=0.0, rl_steps=base.rl_steps)

    def data() -> Data:
        made = problems_of(num_train, solved, num_test)
        return Data(
            train=[problem.to_row() for problem in made.train],
            test=(made.test, [p for p in made.train if not p.solutions][:_NUM_TESTS_ONLY]),
            name=f"mini-APPS: {num_train} problems, {solved} with solutions; {num_test} for test",
        )

    def measure(method: Any, data: Data, seed: int) -> dict[str, Any]:
        return measured(method, data, seed, num_samples)

    warm = partial(_warm_start, bare, data, warm_start)
    if which == "search":
        searched = replace(
            last, checker_epochs=base.checker_epochs, repair_epochs=base.repair_epochs
        )
        return search_trial(searched, data, min(num_test, _SEARCHED), budget, warm)
    return Trial(
        question="From the same warm start, does learning from unit tests beat more imitation?",
        data=data,
        arms=_arms(last),
        measure=measure,
        metric="pass@1",
        direction="higher",
        budget=budget,
        useful=0.02,
        gate=Gate(trivial=("nearest",), ceiling=1.0),
        tuning=Tuning((1e-3, 2e-3, 4e-3), "rl_lr"),
        first_seed=100,
        claims=(
            ("coderl", "cross-entropy", "pass@1", "higher"),
            ("coderl", "cross-entropy", "pass@5", "higher"),
            ("coderl", "cross-entropy", TESTS_ONLY, "higher"),
        ),
        counted=("train",) if tiny else (),
        prepare=warm,
        packages=("sklearn",),
        notes=_NOTES,
    )


def warm_config(solved: int, base: Config | None = None) -> Config:
    """The settings of the warm start: as many steps of imitation whatever the references."""
    base = base or Config.small()
    epochs = base.warmup_epochs * _REFERENCES / solved
    return replace(base, warmup_epochs=epochs, **_WARM_ONLY)


def _tiny() -> Config:
    """Our course at the size of a test."""
    small = Config.small()
    course = {name: getattr(small, name) for name in _COURSE}
    return replace(Config.tiny(), warmup_epochs=0.1, rl_steps=4, round_programs=16, **course)


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
    shares = {f"share of {o.name}": result.notes["outcomes"].get(o.name, 0.0) for o in OUTCOMES}
    return {**result.items, **shares, TESTS_ONLY: known.items["pass@1"]}


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


def _arms(last: Config) -> tuple[Arm, ...]:
    """The sides, which differ in the last phase."""
    published = last.as_published()

    def side(name: str, label: str, role: Role, config: Config) -> Arm:
        return Arm(name, label, role, "coderl", config, trains=config.has_last_phase)

    def nearest(context: Context) -> Any:
        return NearestReference(CodeRL.read(context.data.train))

    imitation = replace(last, objective="cross-entropy")
    rejection = replace(last, objective="rejection")
    ours, theirs = ablations("coderl", last), ablations("coderl", published)
    plain = ablations("coderl", replace(last, token_weights="ones"))
    return (
        side("coderl", "CodeRL, resampled with replay", "method", last),
        side("cross-entropy", "more imitation", "baseline", imitation),
        side("published", "CodeRL as published", "control", published),
        side("rejection", "rejection fine-tuning, resampled", "control", rejection),
        side("no-references", "without references", "control", replace(last, ce_weight=0.0)),
        side("warm", "warm start", "control", replace(last, rl_steps=0)),
        Arm("nearest", "nearest reference", "control", run=nearest, trains=False),
        # What our course is made of
        ours("once", "sampled once", resample_every=0),
        ours("no-replay", "without replay", replay=False),
        ours("explore-all", "sampling solved problems too", explore="all"),
        plain("ones", "returns without credit"),
        ours("critic", "credit by the paper's critic", token_weights="critic"),
        plain("group", "group mean (GRPO)", returns="group"),
        plain("leave-one-out", "mean of the others (RLOO)", returns="leave-one-out"),
        plain("share", "share of tests, group mean", returns="group", reward="share"),
        ours("clip", "clipped as PPO", clip=0.2),
        ours("kl", "held near to the warm start", kl_weight=0.05),
        # What the paper's course is made of
        theirs("absolute", "as published, no baseline", returns="absolute"),
        theirs("published-ones", "as published, weights 1", token_weights="ones"),
        theirs("linear", "as published, falling weights", token_weights="linear"),
        theirs("rl-only", "as published, policy gradient only", ce_weight=0.0),
    )
