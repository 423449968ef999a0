"""The trials: how much faster adaptation is than training from scratch; the grid of six pairs."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pretrial.compare.trial import Arm, Context, Data, Trial
from pretrial.data.sources import load
from pretrial.data.splits import split_by_group
from pretrial.methods.text.architecture_objective import tasks
from pretrial.methods.text.architecture_objective.config import PAIRS, SHORT, Config
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.seeds import seed_everything, seed_of

if TYPE_CHECKING:
    from pretrial.methods.text.architecture_objective import ArchitectureObjective

_TEXTS = "builtin:stdlib-docstrings"
_NUM_HELD_OUT = 96  # texts that curves are measured on
_NUM_TASK_ROWS = 300  # of each task
_NUM_ASKED = 200  # items that a grid's accuracy is measured on

_NOTES = (
    "0.5 M parameters and a megabyte of docstrings; the paper adapts 4.8 B parameters, trained on"
    " 168 B tokens.",
    "For each seed two models are trained from scratch for the whole budget, CD:FLM and ND:MLM;"
    " all arms share them. An arm adapts one to the other's architecture and objective. Its"
    " speed-up is the budget's steps over the steps that it needs to reach the loss, on texts of"
    " other modules, of the model that learnt that objective from scratch; steps are interpolated"
    " between evaluations, and an arm that never gets there has 0.",
    "What the adapted model was trained for before is not in its steps, as in the paper. From"
    " scratch the speed-up is 1 by definition.",
    "The learning rate is 3e-3 after 10 steps, constant so that curves of several lengths compare,"
    " the same for all; nothing was tuned. The paper's decays with the inverse root of the step.",
)
_GRID_NOTES = (
    "Zero-shot: which of four sentences follows another in docstrings of modules that were not"
    " trained on; and the held-out tasks of the eight, comparison and membership.",
    "An encoder-decoder has twice the layers of a decoder, half of which a token passes.",
)


def trial(
    *,
    grid: Literal["none", "pretrain", "multitask"] = "none",
    data: str = _TEXTS,
    tiny: bool = False,
) -> Trial:
    """Is adapting a model faster than training one from scratch? Or: which of six pairs is best?

    Args:
        grid: "pretrain" compares the six pairs of architecture and objective after pre-training,
            "multitask" after multitask fine-tuning as well; "none" is the trial of adaptation.
        data: rows with `text`, `label` and `module`.
        tiny: networks small enough for a test.
    """
    config = Config.tiny() if tiny else Config.small()
    if grid != "none":
        return _grid(config, grid, data, tiny)
    steps = 10 if tiny else 300
    config = replace(config, evaluate_every=2 if tiny else 15)
    causal = replace(config, architecture="causal_decoder", objective="full_lm")
    masked = replace(config, architecture="prefix_decoder", objective="masked_lm")
    control = partial(Arm, role="baseline", trains=False)
    return Trial(
        question="Does a model that was trained with another architecture and objective reach the"
        " loss of one trained from scratch in fewer steps?",
        data=lambda: _data(data),
        arms=(
            Arm("to-causal", "ND:MLM to CD:FLM", "method", run=partial(_adapted, causal, "masked")),
            Arm("to-masked", "CD:FLM to ND:MLM", "method", run=partial(_adapted, masked, "causal")),
            control("scratch", "from scratch", run=_scratch),
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
    from pretrial.methods.text.architecture_objective import ArchitectureObjective

    seed_everything(seed_of(run.seed, "build"))
    run.data = ArchitectureObjective.read(run.data)
    run.held_out = ArchitectureObjective.read(run.held_out)
    method = ArchitectureObjective.build(config, source=source, data=run.data)
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


def _curve(folder: Path) -> list[tuple[int, float]]:
    """Steps and held-out losses that a run has logged."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return sorted({row["step"]: row["eval/loss"] for row in rows if "eval/loss" in row}.items())


def steps_to(curve: list[tuple[int, float]], loss: float) -> float | None:
    """The step at which a curve first comes down to a loss, between its points; None if never."""
    before = None
    for step, value in curve:
        if value <= loss:
            if before is None:
                return float(step)
            share = (before[1] - loss) / (before[1] - value)
            return before[0] + share * (step - before[0])
        before = (step, value)
    return None


def _adapted(config: Config, source: str, context: Context) -> dict[str, float]:
    """Adapts the model from scratch of the other kind; how soon it is as good as its own kind."""
    assert context.prepared is not None
    own = "masked" if source == "causal" else "causal"
    wanted = _curve(context.prepared / f"{own}-run")[-1]
    _train(replace(config, adapt=True), context.prepared / source, context.run)
    curve = _curve(context.run.folder)
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


def _grid(config: Config, grid: str, source: str, tiny: bool) -> Trial:
    """Six arms, one for each pair, and random weights."""
    both = grid == "multitask"
    config = replace(
        config, task="both" if both else "pretrain", schedule="linear", multitask_ratio=0.4
    )
    arms: list[Arm] = []
    for architecture, objectives in PAIRS.items():
        for objective in objectives:
            name = f"{SHORT[architecture]}:{SHORT[objective]}"
            arms.append(
                Arm(
                    name.replace(":", "-").lower(),
                    name,
                    "baseline" if name == "CD:FLM" else "method",
                    "architecture_objective",
                    replace(config, architecture=architecture, objective=objective),
                )
            )
    random = Arm(
        "random", "random weights", "control", "architecture_objective", config, trains=False
    )
    ablation = partial(Arm, role="ablation", method="architecture_objective", default=False)
    masked = replace(config, architecture="prefix_decoder", objective="masked_lm")
    metric = "task_accuracy" if both else "next_sentence_accuracy"
    better = "higher"
    claims = (
        (("nd-mlm", "cd-flm", metric, better), ("ed-mlm", "cd-flm", metric, better))
        if both
        else tuple(("cd-flm", arm, metric, better) for arm in ("nd-plm", "ed-plm", "nd-mlm"))
    )
    return Trial(
        question="Which architecture and objective answers best without examples, after"
        + (" multitask fine-tuning?" if both else " pre-training alone?"),
        data=lambda: _grid_data(source, both),
        arms=(
            *arms,
            random,
            ablation(
                "inputs-too", "ND:MLM, loss on inputs too", config=replace(masked, loss_on="all")
            ),
            ablation(
                "separator", "ND:MLM with a separator", config=replace(masked, separator=True)
            ),
        ),
        measure=_measure_grid,
        metric=metric,
        direction="higher",
        budget=Budget(3000 if tiny else 150_000, "tokens"),
        baseline="cd-flm",
        claims=claims,
        notes=() if tiny else _GRID_NOTES,
    )


def _grid_data(source: str, both: bool) -> Data:
    """Texts, with the rows of six tasks for fine-tuning; to test on, sentences and two tasks."""
    parts = split_by_group(load(source), "module", {"train": 0.8, "test": 0.2})
    learn, test = ([dict(row) for row in parts[name]] for name in ("train", "test"))
    rows = [{"text": row["text"]} for row in learn]
    if both:
        made = tasks.procedural(_NUM_TASK_ROWS, learn, 0)
        rows += [row for row in made if row["task"] not in tasks.HELD_OUT]
    asked = tasks.procedural(_NUM_ASKED // 2, test, 1)
    return Data(
        train=rows,
        test={
            "next_sentence": tasks.next_sentence(test, _NUM_ASKED, 2),
            "task": [row for row in asked if row["task"] in tasks.HELD_OUT],
            "known_task": [row for row in asked if row["task"] not in tasks.HELD_OUT],
        },
        name=f"{source}, split by module" + (", and six tasks" if both else ""),
    )


def _measure_grid(
    method: ArchitectureObjective, data: Data, seed: int
) -> dict[str, float | list[float]]:
    """Accuracy of the most probable choice, on sentences and on tasks."""
    from pretrial.evaluate.rank import measure_rank

    return {
        f"{name}_accuracy": measure_rank(method, rows).items["accuracy"]
        for name, rows in data.test.items()
    }
