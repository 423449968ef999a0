"""The trial of adaptation: how much faster it is than training from scratch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pretrial.compare.kit.curves import logged_curve, steps_to
from pretrial.compare.kit.warm_starts import begun
from pretrial.compare.trial import Arm, Context, Data, Trial
from pretrial.data.reading.sources import load
from pretrial.data.splits import split_by_group
from pretrial.methods.text.architecture_objective.config import Config
from pretrial.methods.text.architecture_objective.trials.grid import grid_trial
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.seeds import seed_everything, seed_of

if TYPE_CHECKING:
    from pretrial.methods.text.architecture_objective import ArchitectureObjective

_TEXTS = "builtin:stdlib-docstrings"
_NUM_HELD_OUT = 96  # texts that curves are measured on

_NOTES = (
    "0.5 M parameters and a megabyte of docstrings; the paper adapts 4.8 B parameters, trained on"
    " 168 B tokens.",
    "For each seed two models are trained from scratch for the whole budget, CD:FLM and ND:MLM;"
    " all arms share them. An arm adapts one to the other's architecture and objective. Its"
    " speed-up is the budget's steps over the steps that it needs to reach the loss, on texts of"
    " other modules, of the model that learned that objective from scratch; steps are interpolated"
    " between evaluations, and an arm that never gets there has 0.",
    "What the adapted model was trained for before is not in its steps, as in the paper. From"
    " scratch the speed-up is 1 by definition.",
    "The learning rate is 3e-3 after 10 steps, constant so that curves of several lengths compare,"
    " the same for all; nothing was tuned. The paper's decays with the inverse root of the step.",
)


def trial(
    *,
    which: Literal["adaptation", "grid"] = "adaptation",
    data: str = _TEXTS,
    tiny: bool = False,
) -> Trial:
    """Is adapting a model faster than training one from scratch? Or: which of six pairs is best?

    Args:
        which: "grid" compares the six pairs of architecture and objective, after pre-training
            and after multitask fine-tuning.
        data: rows with `text`, `label` and `module`.
        tiny: networks small enough for a test.
    """
    if which == "grid":
        return grid_trial(data, tiny)
    config = Config.tiny() if tiny else Config.small()
    steps = 10 if tiny else 300
    config = replace(config, evaluate_every=2 if tiny else 15)
    causal = replace(config, architecture="causal_decoder", objective="full_lm")
    masked = replace(config, architecture="prefix_decoder", objective="masked_lm")
    return Trial(
        question="Does a model that was trained with another architecture and objective reach the"
        " loss of one trained from scratch in fewer steps?",
        data=lambda: _data(data),
        arms=(
            Arm("to-causal", "ND:MLM to CD:FLM", "method", run=partial(_adapted, causal, "masked")),
            Arm("to-masked", "CD:FLM to ND:MLM", "method", run=partial(_adapted, masked, "causal")),
            Arm("scratch", "from scratch", "baseline", run=_scratch, trains=False),
        ),
        measure=lambda found, _, seed: found,
        metric="speedup",
        direction="higher",
        budget=Budget(steps, "steps"),
        prepare=lambda seed, folder: prepare((causal, masked), steps, _data(data), seed, folder),
        claims=(
            ("to-causal", "scratch", "speedup", "higher"),
            ("to-masked", "scratch", "speedup", "higher"),
        ),
        curves=("loss", "eval/loss"),
        notes=_NOTES if data == _TEXTS and not tiny else (),
    )


def _data(source: str) -> Data:
    parts = split_by_group(load(source), "module", {"train": 0.9, "test": 0.1})
    held_out = parts["test"][:: max(1, len(parts["test"]) // _NUM_HELD_OUT)]
    return Data(train=parts["train"], held_out=held_out, name=f"{source}, split by module")


def _train(config: Config, source: Path | None, run: Run) -> ArchitectureObjective:
    """A model that was trained in a run, whose data are raw rows."""
    seed_everything(seed_of(run.seed, "build"))
    run, method = begun("architecture_objective", config, run, source)
    train(method, run)
    return method.eval()


def prepare(
    configs: tuple[Config, Config], steps: int, data: Data, seed: int, folder: Path
) -> Spent:
    """Trains the two models from scratch, "causal" and "masked", in folders of these names."""
    spent = Spent()
    for config, name in zip(configs, ("causal", "masked"), strict=True):
        run = Run(
            folder / f"{name}-run",
            data.train,
            data.held_out,
            Budget(steps, "steps"),
            seed,
            quiet=True,
        )
        with closing(run):
            method = _train(config, None, run)
        for purpose, amounts in run.spent.by_purpose.items():
            spent.add(purpose, **amounts)
        if not (folder / name).is_dir():
            method.save(folder / name)
    return spent


def _adapted(config: Config, source: str, context: Context) -> dict[str, float]:
    """Adapts the model from scratch of the other kind; how soon it is as good as its own kind."""
    assert context.prepared is not None
    own = "masked" if source == "causal" else "causal"
    wanted = logged_curve(context.prepared / f"{own}-run")[-1]
    _train(replace(config, adapt=True), context.prepared / source, context.run)
    curve = logged_curve(context.run.folder)
    steps = steps_to(curve, wanted[1])
    return {
        "speedup": wanted[0] / steps if steps else 0.0,
        "steps": float(steps or wanted[0]),
        "loss": curve[-1][1],
        "scratch_loss": wanted[1],
    }


def _scratch(context: Context) -> dict[str, float]:
    """What the speed-up is measured against."""
    return {"speedup": 1.0}
