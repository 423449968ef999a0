"""Self-distillation on trial: from letters of fonts to handwritten digits, with few of them."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pretrial import discover
from pretrial.compare.trial import Arm, Data, Trial
from pretrial.methods.adapt.further_pretraining import trial_data
from pretrial.methods.adapt.further_pretraining.config import Config, Input
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pretrial.compare.trial import Context
    from pretrial.data.rows import Row
    from pretrial.train.stage import Stage

_METRIC = "accuracy"

_CLAIMS = (
    ("self", "further", _METRIC, "higher"),
    ("self", "half", _METRIC, "higher"),
    ("self", "none", _METRIC, "higher"),
    ("self", "decay", _METRIC, "higher"),
    ("self", "l2", _METRIC, "higher"),
    ("half", "further", _METRIC, "higher"),
    ("self", "further", "distance", "lower"),
)

_NOTES = (
    "0.2 M parameters and images of 8x8 pixels in 16 patches; the paper has ViT-MAE-base, images of"
    " 224 pixels and six data sets.",
    "The initial model is a masked autoencoder of 2,288 letters in 22 fonts, one a seed, which all"
    " arms go on from. The target is 200 digits without labels, of which 100 keep their label for"
    " fine-tuning; 1,000 others are tested on. The data does not say who wrote which digit.",
    "All arms take equally many optimiser steps. A student's step costs nearly five times as many"
    " FLOPs as one of further pre-training, since it and the teacher read whole images; --budget in"
    " flops makes these equal instead.",
    "Further pre-training for half of the steps, which is the teacher of self-distillation, is"
    " trained by all of the steps of that arm, of which the later ones are thrown away.",
    "The recipe is equal for all arms and was not tuned: AdamW (0.9, 0.95), a peak learning rate of"
    " 1e-3 that falls linearly, batches of 32; fine-tuning takes 160 steps in batches of 25. The"
    " decay of 0.3 and the pull of 0.01 of the regularised arms were set once.",
    "This is a second run. In the first, models from scratch had no positions (transformers' ViTMAE"
    " has zeros there when it is built from a config) and layers begun for a greater width; there"
    " self-distillation had 0.547, further pre-training 0.393, fine-tuning alone 0.442.",
    "The curves probe_accuracy are of a linear classifier on frozen features, on 300 images apart"
    " from those tested on; nothing was chosen by them.",
)


def trial(
    *,
    input: Input = "image",
    data: str = "",
    package: str = "idlelib",
    num_target: int = 200,
    num_labels: int = 100,
    num_test: int = 1000,
    steps: int = 400,
    pretrain_steps: int = 600,
    finetune_steps: int = 160,
    tiny: bool = False,
) -> Trial:
    """A model of letters is pre-trained further on a few digits, in several ways, and fine-tuned.

    With `input=text`: a model of docstrings of all packages but one, and the docstrings of that.

    Args:
        input: "image" or "text".
        data: images of 8x8 pixels with `image` and `label`, by default digits; or rows with `text`,
            `label`, `kind` and `module`, by default docstrings.
        package: of texts, the label to adapt to.
        num_target: images to pre-train further on.
        num_labels: those among them that keep their label; of texts too.
        num_test: images to test on.
        steps: of further pre-training; self-distillation has half for the teacher and half for the
            student.
        pretrain_steps: of the initial model.
        finetune_steps: after it, for all arms.
        tiny: networks and steps small enough for a test.
    """
    config = replace(Config.small(), evaluate_every=max(1, steps // 8))
    if tiny:
        config = replace(Config.tiny(), finetune_ratio=0.0)
        num_test, steps, pretrain_steps, finetune_steps = 100, 16, 8, 8
    config = replace(config, input=input)
    source = data or (trial_data.DIGITS if input == "image" else trial_data.DOCSTRINGS)
    if input == "image":
        rows = partial(trial_data.image_data, source, num_target, num_labels, num_test)
        before = partial(trial_data.letters, config.image_size)
    else:
        rows = partial(trial_data.text_data, source, package, num_labels)
        before = partial(trial_data.other_packages, source, package)
    alone = replace(config, rounds=0)
    return Trial(
        question="A model is to be fine-tuned on few data unlike what it has learnt: does"
        " self-distillation prepare it better than further pre-training alone, in equal steps?",
        data=rows,
        arms=_arms(config, alone),
        measure=partial(_measure, steps=finetune_steps),
        metric=_METRIC,
        direction="higher",
        budget=Budget(steps, "steps"),
        num_seeds=5,
        claims=_CLAIMS,
        prepare=partial(_prepare, before, alone, pretrain_steps),
        notes=_NOTES if source == trial_data.DIGITS and not tiny else (),
    )


def _arms(config: Config, alone: Config) -> tuple[Arm, ...]:
    """The arms; `alone` has no student."""
    arm = partial(Arm, method="further_pretraining")
    ablation = partial(arm, role="ablation", default=False)
    decayed, pulled = replace(alone, weight_decay=0.3), replace(alone, l2_weight=0.01)
    return (
        arm("self", "self-distillation", "method", config=config),
        arm("further", "further pre-training", "baseline", config=alone),
        Arm("half", "further, half of the steps", "baseline", run=partial(_half, config)),
        arm("decay", "further, strong weight decay", "control", config=decayed),
        arm("l2", "further, near to the start", "control", config=pulled),
        arm("none", "fine-tuning only", "control", config=alone, trains=False),
        ablation(
            "teacher-start",
            "the student starts from the teacher",
            config=replace(config, start="teacher"),
        ),
        ablation("weak", "weight 0.1", config=replace(config, distill_weight=0.1)),
        ablation("strong", "weight 10", config=replace(config, distill_weight=10.0)),
        ablation("two-rounds", "two rounds", config=replace(config, rounds=2)),
    )


def _prepare(
    before: Callable[[], list[Row]], config: Config, steps: int, seed: int, folder: Path
) -> Spent:
    """Pre-trains the initial model."""
    method_class = discover.load("further_pretraining").method
    learnt = method_class.read([{**row, "label": None} for row in before()])
    torch.manual_seed(seed)
    method = method_class.build(replace(config, batch_size=64), data=learnt)
    run = Run(folder / "run", learnt, budget=Budget(steps, "steps"), seed=seed, quiet=True)
    train(method, run)
    run.close()
    method.save(folder)
    return run.spent


def _half(config: Config, context: Context) -> Any:
    """The teacher of self-distillation: trains all of it, and gives back what half has made."""
    method_class = discover.load("further_pretraining").method
    run = context.run
    run = run.over(*(method_class.read(part) for part in (run.data, run.held_out)))
    method: Any = method_class.build(config, source=context.prepared, data=run.data)
    train(method, run)
    method.network.load_state_dict(method.teacher.state_dict())
    return method.eval()


def _measure(method: Any, data: Data, seed: int, *, steps: int) -> dict[str, float | list[float]]:
    """Fine-tunes, and tells for each test image whether it is classified rightly.

    Returns:
        "accuracy"; "gap", by how much the accuracy on the labelled images is above it; "distance"
        of the encoder from the initial weights before fine-tuning; "probe_accuracy" of a linear
        classifier on frozen features.
    """
    from pretrial.evaluate.probe import probe

    learn, test = (method.read(rows) for rows in (data.test.learn, data.test.test))
    place = {label: number for number, label in enumerate(method.classes)}
    pairs = [(each, place[each.label]) for each in learn]
    targets = [place[each.label] for each in test]
    vectors = [method.encode(each).numpy() for each in (learn, test)]
    probed = probe(vectors[0], [target for _, target in pairs], vectors[1])
    torch.manual_seed(seed)
    labeller = method.classifier(len(place))

    class Finetuning(Method):
        """One stage over the labelled images."""

        def stages(self, run: Run) -> Iterator[Stage]:
            yield method.finetuning(labeller, run, pairs, run.budget)

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, learn, budget=Budget(steps, "steps"), seed=seed, quiet=True)
        with closing(run):
            train(Finetuning(None), run)
    guesses = labeller.logits(test).argmax(-1).tolist()
    right = [float(guess == target) for guess, target in zip(guesses, targets, strict=True)]
    known = labeller.logits(learn).argmax(-1).tolist()
    known_right = np.mean(
        [guess == target for guess, (_, target) in zip(known, pairs, strict=True)]
    )
    return {
        "accuracy": right,
        "gap": float(known_right - np.mean(right)),
        "distance": method.distance(),
        "probe_accuracy": [
            float(guess == target) for guess, target in zip(probed, targets, strict=True)
        ],
    }
