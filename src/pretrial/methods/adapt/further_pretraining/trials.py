"""Self-distillation on trial: from letters of fonts to handwritten digits, with few of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.bases.self_supervised.config import Input
from pretrial.compare.kit import few_labels
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.one_package import one_package, other_packages
from pretrial.compare.kit.warm_starts import begun, untrained, warm_start
from pretrial.compare.trial import Arm, Data, Gate, Premise, Trial, Tuning
from pretrial.data.builtin.glyphs import glyphs
from pretrial.data.builtin.moved import moved
from pretrial.data.rows import Row
from pretrial.evaluate.probe import probe_log_probs
from pretrial.methods.adapt.further_pretraining.config import Config
from pretrial.train.budget import Budget
from pretrial.train.loop import train

if TYPE_CHECKING:
    from pretrial.compare.trial import Context

_DOCSTRINGS = "builtin:stdlib-docstrings"

_DIGITS = "builtin:digits?size=8&turn=20&shift=1"

_CLAIMS = (
    ("self", "further", "nll", "lower"),
    ("self", "further", "accuracy", "higher"),
    ("self", "half", "nll", "lower"),
    ("self", "none", "nll", "lower"),
    ("self", "decay", "nll", "lower"),
    ("self", "l2", "nll", "lower"),
    ("self", "further", "distance", "lower"),
)

_NOTES = (
    "0.2 M parameters and images of 8x8 pixels in 16 patches; the paper has ViT-MAE-base, images of"
    " 224 pixels and six data sets.",
    "The initial model is a masked autoencoder of 9,152 letters in 22 fonts, one a seed, which all"
    " arms go on from. The target is 300 digits without labels, of which 230 keep their label for"
    " fine-tuning; 1,000 others are tested on. Letters and digits are turned by up to 20 degrees"
    " and moved by up to a pixel.",
    "All arms take equally many optimiser steps. A student's step costs nearly five times as many"
    " FLOPs as one of further pre-training, since it and the teacher read whole images; --budget in"
    " flops makes these equal instead.",
    "Further pre-training for half of the steps, which is the teacher of self-distillation, is"
    " trained by all of the steps of that arm, of which the later ones are thrown away.",
    "The recipe is equal for all arms: AdamW (0.9, 0.95), a peak learning rate that is chosen and"
    " falls linearly, batches of 32; fine-tuning takes 160 steps in batches of 25. The decay of 0.3"
    " and the pull of 0.01 of the regularised arms were set once.",
    "No set-up was found where the baseline over-fits and is above a linear classifier. With seed"
    " 9001 at 1e-3, nll of fine-tuning alone, after 1,200 steps of further pre-training, and of a"
    " linear classifier of pixels: 230 labels 1.49, 1.44 (1.33 after 3,000), 1.54; 120 digits of"
    " which 70 have labels 2.11, 2.15, 1.82; 200 labels and 400 steps of fine-tuning 1.78, 1.96,"
    " 1.57.",
    "The curves probe_accuracy are of a linear classifier on frozen features, on 300 images apart"
    " from those tested on; nothing was chosen by them.",
)


def trial(
    *,
    input: Input = "image",
    data: str = "",
    package: str = "idlelib",
    num_target: int = 300,
    num_labels: int = 230,
    num_test: int = 1000,
    steps: int = 1200,
    pretrain_steps: int = 2000,
    finetune_steps: int = 160,
    tiny: bool = False,
) -> Trial:
    """A model of letters is pre-trained further on a few digits, in several ways, and fine-tuned.

    With `input=text`: a model of docstrings of all packages but one, and the docstrings of that.

    Args:
        input: "image" or "text".
        data: images of 8x8 pixels with `image` and `label`, by default digits, turned and moved;
            or rows with `text`, `label`, `kind` and `module`, by default docstrings.
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
    source = data or (_DIGITS if input == "image" else _DOCSTRINGS)
    if input == "image":
        rows = partial(image_data, source, num_target, num_labels, num_test)
        before: Callable[[], list[Row]] = partial(_letters, config.image_size)
    else:
        rows = partial(one_package, source, package, num_labels)
        before = partial(other_packages, source, package)
    alone = replace(config, rounds=0)
    return Trial(
        question="A model is to be fine-tuned on few data unlike what it has learnt: does"
        " self-distillation prepare it better than further pre-training alone, in equal steps?",
        data=rows,
        arms=_arms(config, alone),
        measure=partial(_measure, steps=finetune_steps),
        metric="nll",
        direction="lower",
        useful=0.02,
        relative=True,
        gate=Gate(("linear", "random"), ceiling=0.0),
        premise=Premise("over_fit", 0.02, "Over-fitting by further pre-training"),
        tuning=Tuning((3e-4, 1e-3, 3e-3)),
        first_seed=100,
        packages=few_labels.NEEDED,
        budget=Budget(steps, "steps"),
        claims=_CLAIMS,
        prepare=partial(
            warm_start,
            "further_pretraining",
            replace(alone, batch_size=64),
            partial(_unlabelled, before),
            Budget(pretrain_steps, "steps"),
        ),
        notes=_NOTES if source == _DIGITS and not tiny else (),
    )


def _arms(config: Config, alone: Config) -> tuple[Arm, ...]:
    """The arms; `alone` has no student."""
    arm = partial(Arm, method="further_pretraining")
    ablation = ablations("further_pretraining", config)
    decayed, pulled = replace(alone, weight_decay=0.3), replace(alone, l2_weight=0.01)
    return (
        arm("self", "self-distillation", "method", config=config),
        arm("further", "further pre-training", "baseline", config=alone),
        Arm("half", "further, half of the steps", "baseline", run=partial(_half, config)),
        arm("decay", "further, strong weight decay", "control", config=decayed),
        arm("l2", "further, near to the start", "control", config=pulled),
        arm("none", "fine-tuning only", "control", config=alone, trains=False),
        Arm("linear", "linear on pixels or counts", "control", run=_nothing, trains=False),
        Arm("random", "from random weights", "control", run=_random(alone), trains=False),
        ablation("teacher-start", "the student starts from the teacher", start="teacher"),
        ablation("weak", "weight 0.1", distill_weight=0.1),
        ablation("strong", "weight 10", distill_weight=10.0),
        ablation("two-rounds", "two rounds", rounds=2),
    )


def image_data(source: str, num_target: int, num_labels: int, num_test: int) -> Data:
    """Target images of which some keep their label, others to test on, and a few held out.

    Returns:
        With `test` as the rows to fine-tune on and those to test on, as in `one_package`.
    """
    found = few_labels.split(source, num_labels, num_test, num_train=num_target, num_held_out=300)
    return replace(found, test=([row for row in found.train if "label" in row], found.test))


def _letters(size: int) -> list[Row]:
    """Letters of fonts, turned and moved as the digits are."""
    return moved(glyphs(8), size, turn=20, shift=1, copies=4)


def _nothing(context: Context) -> None:
    """An arm without a network."""


def _random(config: Config) -> Callable[[Context], Any]:
    return partial(untrained, "further_pretraining", config)


def _unlabelled(rows: Callable[[], list[Row]]) -> Data:
    return Data(train=[{**row, "label": None} for row in rows()])


def _half(config: Config, context: Context) -> Any:
    """The teacher of self-distillation: trains all of it, and gives back what half has made."""
    run, method = begun(
        "further_pretraining", replace(config, **context.chosen), context.run, context.prepared
    )
    train(method, run)
    method.learner.load_state_dict(method.teacher.state_dict())
    return method.eval()


def _measure(method: Any, data: Data, seed: int, *, steps: int) -> dict[str, Any]:
    """Fine-tunes, and tells what is said of each test example.

    Returns:
        "nll" and "accuracy"; "probe_nll" and "probe_accuracy" of a linear classifier on frozen
        features; "over_fit", by how much "nll" is above that of the initial model, fine-tuned
        alike; "gap", by how much the accuracy on the labelled examples is above the other;
        "distance" of the encoder from the initial weights before fine-tuning. For None it is a
        linear classifier on inputs as they are.
    """
    rows = data.test[1]
    if method is None:
        plain = replace(data, train=data.test[0], test=rows)
        return dict(few_labels.plain_scores(plain, few_labels.sequence_vectors))
    sides = [method.labelled(method.read(each)) for each in data.test]
    (learn, learn_places), (test, places) = (zip(*pairs, strict=True) for pairs in sides)
    vectors = [method.encode(examples).numpy() for examples in (learn, test)]
    probed = probe_log_probs(vectors[0], learn_places, vectors[1], len(method.classes))

    def finetuned(learner: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        torch.manual_seed(seed)
        classifier = learner.classifier(len(method.classes))
        few_labels.train_stage(partial(method.finetuning_of, classifier), learn, steps, seed)
        known, said = (
            classifier.logits(examples).float().log_softmax(-1).numpy()
            for examples in (learn, test)
        )
        return known, said

    def nll(log_probs: NDArray[Any]) -> float:
        return float(-log_probs[np.arange(len(places)), places].mean())

    known, said = finetuned(method.learner)
    distance = method.distance()
    _, before = finetuned(method.initial) if distance else (known, said)  # as it was
    probe = few_labels.scored(probed, places, rows)
    return {
        **few_labels.scored(said, places, rows),
        **{f"probe_{name}": values for name, values in probe.items()},
        "over_fit": nll(said) - nll(before),
        "gap": float(np.mean(known.argmax(-1) == learn_places))
        - float(np.mean(said.argmax(-1) == places)),
        "distance": distance,
    }
