"""CodeRL on trial: does it beat as many more steps of imitation, from the same warm start?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pretrial.compare.trial import Arm, Data, Role, Trial
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.errors import UserError
from pretrial.evaluate.passk import measure_programs
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.sandbox import Outcome
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

OUTCOMES = [outcome for outcome in Outcome if outcome >= 0]
# Warm-up has to end where reinforcement can learn something: some programs pass, some do not.
BAND = (0.15, 0.6)
Measure = Callable[[Any, Data, int], dict[str, Any]]
_WARM_ONLY: dict[str, Any] = {
    "rl_steps": 0,
    "rl_epochs": 0.0,
    "checker_epochs": 0.0,
    "repair_epochs": 0.0,
}

_NOTES = (
    "A step is one update of the actor after its warm-up; in each arm it sees as many"
    " reference pairs and as many further programs. Sampling, execution and the critic are"
    " shown beside it and not made equal.",
    "A T5 of 0.6 M parameters on generated problems, far from the paper's 770 M on APPS.",
    "Rejection fine-tuning imitates the model's own passing programs: the strong control.",
)


def trial(
    *,
    num_train: int = 2500,
    solved: int = 800,
    num_test: int = 200,
    steps: int = 120,
    num_samples: int = 20,
    with_search: bool = False,
) -> Trial:
    """Puts CodeRL on trial on generated problems.

    Args:
        num_train: training problems.
        solved: those of them that have reference programs; the others have tests only.
        num_test: test problems, whose compositions of operations are not in training.
        steps: of the actor after its warm-up, in every arm.
        num_samples: programs a test problem for pass@1 and pass@5.
        with_search: also train the parts of critic sampling in the arm of CodeRL.
    """
    bare = replace(Config.small(), **_WARM_ONLY)
    last = replace(bare, warmup_epochs=0.0, rl_steps=steps)
    small = Config.small()
    searching = {"checker_epochs": small.checker_epochs, "repair_epochs": small.repair_epochs}

    def data() -> Data:
        made = mini_apps(num_train=num_train, num_test=num_test, solved=solved)
        return Data(
            train=[problem.to_row() for problem in made.train],
            test=made.test,
            name=f"mini-APPS: {num_train} problems, {solved} with solutions; {num_test} for test",
        )

    def measure(method: CodeRL, data: Data, seed: int) -> dict[str, Any]:
        result = measure_programs(
            method, data.test, num_samples=num_samples, k=(1, 5), seed=seed, seconds=2.0
        )
        shares = {f"share of {o.name}": result.notes["outcomes"].get(o.name, 0.0) for o in OUTCOMES}
        return dict(result.items) | shares

    return Trial(
        question="From the same warm start, does CodeRL beat as many more steps of imitation?",
        data=data,
        arms=_arms(last, searching if with_search else {}),
        measure=measure,
        metric="pass@1",
        direction="higher",
        budget=Budget(steps),
        most_seeds=3,
        claims=(
            ("coderl", "cross-entropy", "pass@1", "higher"),
            ("coderl", "cross-entropy", "pass@5", "higher"),
            ("coderl", "rejection", "pass@1", "higher"),
        ),
        counted=("train",),
        prepare=partial(_warm_start, bare, data, measure),
        notes=_NOTES,
    )


def _warm_start(
    config: Config, data: Callable[[], Data], measure: Measure, seed: int, folder: Path
) -> Spent:
    """Trains by imitation what all arms of a seed go on from."""
    problems = CodeRL.read(data().train)
    warm = CodeRL.build(config, data=problems)
    run = Run(folder / "run", problems, seed=seed, quiet=True)
    train(warm, run)
    score = measure(warm, data(), seed)["pass@1"]
    share = sum(score) / len(score)
    if not BAND[0] <= share <= BAND[1]:
        raise UserError(
            f"after warm-up pass@1 is {share:.1%}, outside {BAND[0]:.0%} to {BAND[1]:.0%},"
            " where the last phase can show nothing; give another --solved"
        )
    warm.save(folder)
    return run.spent


def _arms(last: Config, searching: dict[str, Any]) -> tuple[Arm, ...]:
    """The sides, which differ in the last phase; `searching` has what critic sampling needs."""

    def arm(name: str, label: str, role: Role, **changes: Any) -> Arm:
        trains = changes.get("rl_steps", last.rl_steps) > 0
        return Arm(
            name,
            label,
            role,
            "coderl",
            replace(last, **changes),
            trains=trains,
            default=role != "ablation",
        )

    return (
        arm("coderl", "CodeRL", "method", **searching),
        arm("cross-entropy", "more cross-entropy", "baseline", objective="cross-entropy"),
        arm("rejection", "rejection fine-tuning", "control", objective="rejection"),
        arm("warm", "warm start", "control", rl_steps=0, rl_epochs=0.0),
        arm("absolute", "no baseline", "ablation", returns="absolute"),
        arm("ones", "token weights 1", "ablation", token_weights="ones"),
        arm("linear", "token weights falling linearly", "ablation", token_weights="linear"),
        arm("rl-only", "policy gradient only", "ablation", ce_weight=0.0),
    )
