"""The trial of MP3: digits of 8x8 pixels with a hundred labels."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pretrial.compare.trial import Arm, Trial
from pretrial.methods.vision import digits, mae
from pretrial.methods.vision.mp3.config import Config
from pretrial.models.patch_classifier import Positions
from pretrial.train.budget import Budget

_NOTES = (
    "Images of 8x8 pixels in 16 patches, 0.2 M parameters, 600 steps of pre-training and 300 of"
    " fine-tuning; the paper has ViT-S, CIFAR-100 and Tiny ImageNet, and 2,000 epochs.",
    "1,297 images without labels, 100 of them labelled too, 500 to test on, split at random: the"
    " data does not say who wrote which.",
    "All arms have the same recipe: AdamW, a peak learning rate of 1e-3, weight decay 0.05, a"
    " cosine after a tenth of warm-up, batches of 64 in pre-training and 50 in fine-tuning, no"
    " crops, no mirror images. None of it was tuned.",
    "An arm without pre-training fine-tunes for all 900 steps; the control does so for the 300 that"
    " the others spend on it.",
    "probe_accuracy is that of a linear classifier on the mean of the states before fine-tuning; in"
    " arms without pre-training these are states of random weights.",
    "This is the second full run. In the first, weights began with a deviation of 0.02 whatever the"
    " width, and MAE learnt no more than the mean of each place (accuracy 0.52; MP3 0.72, from"
    " scratch 0.81). All arms now begin by the width of each layer. The probe and the pixels were"
    " added then.",
    "MAE hides half of the patches too, has a decoder of one layer, and predicts plain pixels:"
    " normalising a patch of four pixels leaves little of it. Its positions begin as the fixed"
    " ones.",
)

# A second of sound: 24 tokens of four frames.
_SOUND: dict[str, Any] = {
    "input": "audio",
    "sampling_rate": 8000,
    "seconds": 1.0,
    "num_mels": 40,
    "frames": 4,
}


def trial(
    *,
    track: Literal["digits", "words"] = "digits",
    data: str = digits.SOURCE,
    num_labels: int = 100,
    num_test: int = 500,
    tiny: bool = False,
) -> Trial:
    """Position prediction, then few labels, against no pre-training and against MAE.

    Args:
        track: "words" takes recordings of spoken words instead of images, which needs espeak-ng;
            it has data, sizes and numbers of its own, five labels a word.
        data: images of 8x8 pixels with `image` and `label`.
        num_labels: images that keep their label.
        num_test: images to test on.
        tiny: networks small enough for a test.
    """
    config, painter = (
        (Config.tiny(), mae.Config.tiny()) if tiny else (Config.small(), mae.Config.small())
    )
    load = partial(digits.data, data, num_labels, num_test)
    if track == "words":
        config = replace(config, **_SOUND)
        load = partial(digits.data, "builtin:spoken-words", 50, 180, "audio")
    config = replace(config, finetune_ratio=1 / 3)
    painter = replace(painter, finetune_ratio=1 / 3)
    bare = replace(config, positions="none")
    budget = Budget(90 if tiny else 900, "steps")

    def scratch(positions: Positions) -> Config:
        return replace(config, finetune_ratio=1.0, positions=positions)

    ablation = partial(Arm, role="ablation", method="mp3", default=False)
    of_images = (
        Arm("mae", "MAE", "baseline", "mae", painter),
        Arm(
            "pixels",
            "linear on plain pixels",
            "control",
            run=lambda context: None,
            trains=False,
        ),
    )
    claims = (
        ("mp3", "scratch", "accuracy", "higher"),
        ("mp3", "short", "accuracy", "higher"),
        ("mp3-none", "scratch-none", "accuracy", "higher"),
        ("mp3-none", "scratch", "accuracy", "higher"),
        ("mp3", "scratch", "probe_accuracy", "higher"),
    )
    against_mae = (
        ("mp3", "mae", "accuracy", "higher"),
        ("mp3", "mae", "probe_accuracy", "higher"),
    )
    images = track == "digits"
    return Trial(
        question="Does predicting the places of patches help when labels are few, and can it stand"
        " in for position embeddings?",
        data=load,
        arms=(
            Arm("mp3", "MP3", "method", "mp3", config),
            Arm("mp3-none", "MP3, no positions", "method", "mp3", bare),
            Arm("scratch", "from scratch, all steps", "baseline", "mp3", scratch("absolute")),
            Arm("scratch-none", "the same, no positions", "baseline", "mp3", scratch("none")),
            Arm(
                "short",
                "from scratch, the steps of fine-tuning",
                "control",
                "mp3",
                scratch("absolute"),
                trains=False,
            ),
            *(of_images if images else ()),
            ablation("layer", "a context for each layer", config=replace(config, context="layer")),
            ablation("open", "no token hidden", config=replace(config, hidden_ratio=0.0)),
            ablation("quarter", "25 % hidden", config=replace(config, hidden_ratio=0.25)),
            ablation("most", "75 % hidden", config=replace(config, hidden_ratio=0.75)),
            ablation(
                "relative", "relative positions", config=replace(config, positions="relative")
            ),
            ablation(
                "scratch-relative",
                "from scratch, relative positions",
                config=scratch("relative"),
            ),
            ablation(
                "smooth",
                "smoothed targets",
                config=replace(config, smoothing=1.0, smoothing_steps=300),
            ),
        ),
        measure=partial(_measure, steps=budget.amount / 3),
        metric="accuracy",
        direction="higher",
        budget=budget,
        claims=(*claims, *(against_mae if images else ())),
        notes=_NOTES if images and data == digits.SOURCE and not tiny else (),
    )


def _measure(method: Any, found: Any, seed: int, *, steps: float) -> dict[str, list[float]]:
    """For each test image whether it was classified rightly."""
    if method is None:
        return digits.pixel_accuracies(found)
    if method.labeller is None:
        _finetune(method, found.train, steps, seed)
    return digits.accuracies(method, found)


def _finetune(method: Any, rows: Sequence[Any], steps: float, seed: int) -> None:
    """The stage of fine-tuning alone."""
    from pretrial.train.loop import train
    from pretrial.train.run import Run

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, method.read(rows), budget=Budget(steps, "steps"), seed=seed, quiet=True)
        with closing(run):
            train(method, run)
