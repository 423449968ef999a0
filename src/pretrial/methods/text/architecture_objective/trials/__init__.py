"""The trial of adaptation: what it gains over training from scratch, in as many steps."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pretrial.compare.kit.curves import logged_curve
from pretrial.compare.kit.unigrams import frequency_arm, say_frequencies
from pretrial.compare.kit.warm_starts import begun
from pretrial.compare.trial import Arm, Context, Data, Gate, Role, Trial, Tuning
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
    "For each seed two models are trained from scratch for the whole budget, CD:FLM and ND:MLM,"
    " which the adapted arms start from. What these were trained for is not in the arms' steps, as"
    " in the paper; an arm from scratch takes as many steps as the adaptation.",
    "The loss is that of the arm's own objective on texts of other modules. The learning rate is"
    " constant after 10 steps; the paper's decays with the inverse root of the step.",
    "Earlier records measured by how much sooner the adapted model reached the loss of the one from"
    " scratch. Seeds that never got there counted as 0, so that three seeds told nothing.",
)


def trial(
    *,
    which: Literal["adaptation", "grid"] = "adaptation",
    data: str = _TEXTS,
    tiny: bool = False,
) -> Trial:
    """Is adapting a model better than training one from scratch? Or: which of six pairs is best?

    Args:
        which: "grid" compares the six pairs of architecture and objective, after pre-training
            and after multitask fine-tuning.
        data: rows with `text`, `label` and `module`.
        tiny: networks small enough for a test.
    """
    if which == "grid":
        return grid_trial(data, tiny)
    config = Config.tiny() if tiny else replace(Config.small(), warmup=10)
    steps = 10 if tiny else 300
    config = replace(config, evaluate_every=2 if tiny else 15)
    causal = replace(config, architecture="causal_decoder", objective="full_lm")
    masked = replace(config, architecture="prefix_decoder", objective="masked_lm")

    def arm(name: str, label: str, role: Role, made: Config, source: str = "") -> Arm:
        return Arm(name, label, role, run=partial(train_arm, made, source))

    return Trial(
        question="Does a model that was trained with another architecture and objective come to a"
        " lower loss than one from scratch, in as many steps?",
        data=lambda: _data(data),
        arms=(
            arm("to-causal", "ND:MLM to CD:FLM", "method", replace(causal, adapt=True), "masked"),
            arm("scratch", "CD:FLM from scratch", "baseline", causal),
            arm("to-masked", "CD:FLM to ND:MLM", "method", replace(masked, adapt=True), "causal"),
            arm("scratch-masked", "ND:MLM from scratch", "baseline", masked),
            frequency_arm(partial(_frequencies, causal)),
        ),
        measure=lambda found, _, seed: found,
        metric="loss",
        direction="lower",
        useful=0.01,
        relative=True,
        gate=Gate(("frequencies",)),
        tuning=Tuning((1e-3, 3e-3, 1e-2)),
        first_seed=100,
        budget=Budget(steps, "steps"),
        prepare=lambda seed, folder: prepare((causal, masked), steps, _data(data), seed, folder),
        claims=(
            ("to-causal", "scratch", "loss", "lower"),
            ("to-masked", "scratch-masked", "loss", "lower"),
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


def train_arm(config: Config, source: str, context: Context) -> dict[str, float]:
    """Trains an arm; its loss on texts of other modules at the end.

    Args:
        config: of the arm.
        source: the prepared model that it starts from; "" is from scratch.
        context: what the arm is given.
    """
    place = context.prepared / source if source and context.prepared else None
    _train(replace(config, **context.chosen), place, context.run)
    return {"loss": logged_curve(context.run.folder)[-1][1]}


def _frequencies(config: Config, context: Context) -> dict[str, float]:
    """The loss of who knows how frequent each token is, and nothing else."""
    run, method = begun("architecture_objective", config, context.run)
    texts = [row["text"] for row in context.data.train]
    say_frequencies(method.language_model.network, method.tokenizer(texts)["input_ids"])
    stage = next(iter(method.eval().stages(run)))
    assert stage.evaluate is not None
    return {"loss": stage.evaluate()["loss"]}
