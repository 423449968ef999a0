"""The trials of MP3: digits somewhere on a canvas, and words in noise, with few labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from pretrial.bases.examples import read_examples
from pretrial.bases.patch_encoder import data as patch_data
from pretrial.compare.kit import few_labels
from pretrial.compare.trial import Arm, Data, Gate, Trial, Tuning
from pretrial.data.media.audio import samples
from pretrial.methods.vision import mae
from pretrial.methods.vision.mp3.config import Config
from pretrial.train.budget import Budget

_RECIPE = (
    "One recipe for all arms: AdamW, a peak learning rate of 1e-3 in pre-training, weight decay"
    " 0.05, a cosine after a tenth of warm-up, batches of 64 and 50, no crops, no mirrors. Two"
    " thirds of the steps are pre-training; an arm without it fine-tunes for all of them.",
    "probe_nll and probe_accuracy are those of a linear classifier on the mean of the states before"
    " fine-tuning; in arms without pre-training these are states of random weights.",
    "MAE hides half of the tokens too, has a decoder of one layer, and predicts its input as it is."
    " Its positions begin as the fixed ones.",
)

_NOTES = (
    "Digits of 8x8 pixels, turned by up to 20 degrees and moved by up to 2 pixels on a canvas of"
    " 12x12: single pixels say little there. 1,297 digits in 24 copies, 100 with labels; 500 others"
    " are tested on. 0.2 M parameters and 16 patches; the paper has ViT-S, CIFAR-100, Tiny"
    " ImageNet and 2,000 epochs.",
    "Found with seed 9001, in nll: from scratch 1.73, 1.35 and 1.84 at 1e-4, 3e-4 and 1e-3,"
    " MP3 1.78, 1.30 and 1.68 at 3e-4, 1e-3 and 3e-3. With 8 copies and 300 labels from scratch had"
    " 1.43 after 900 steps, MP3 1.59; without copies both learnt by heart (4.7).",
    *_RECIPE,
)

_WORD_NOTES = (
    "A formant synthesiser speaks ten words in 24 voices at three speeds, in noise a third as"
    " loud. Voices that are tested on are not trained on, and count as the units. Each word stands"
    " within 0.1 s of the middle, as in Speech Commands. 24 tokens of 40 ms, 0.2 M parameters; the"
    " paper has larger encoders and recorded speech.",
    "Found with seed 9001 at 1e-3, in nll: from scratch 0.62, a linear classifier 0.93. In noise as"
    " loud as the words they had 1.22 and 1.11, and MP3 0.71; without noise all reach 0.97 right.",
    *_RECIPE,
)

_IMAGES = "builtin:digits?size=12&turn=20&shift=2&copies=24"
_WORDS = "builtin:spoken-words?noise=0.03"

_MOVED: dict[str, Any] = {"image_size": 12, "patch_size": 3, "resize": True}

_IDLE = ("random", "short")  # arms that spend nothing of the budget

# A second of sound: 24 tokens of four frames.
_FORM = {"sampling_rate": 8000, "seconds": 1.0, "num_mels": 40, "frames": 4}
_SOUND: dict[str, Any] = {"input": "audio", **_FORM}

#: Options that were called otherwise in records of before.
RENAMED = {"track": "which"}


def trial(
    *,
    which: Literal["digits", "words"] = "digits",
    data: str = "",
    num_labels: int = 0,
    num_test: int = 0,
    tiny: bool = False,
) -> Trial:
    """Position prediction, then few labels, against no pre-training and against MAE.

    Args:
        which: images, or recordings of spoken words, whose trial has a record of its own.
        data: images of 12x12 pixels, or recordings of a second, with `label`; by default digits of
            scikit-learn, turned and moved, or words spoken by espeak-ng, which must be installed.
        num_labels: examples that keep their label; 0 is 100 digits, or 50 recordings.
        num_test: examples to test on; 0 is 500 images, or 300 recordings.
        tiny: networks small enough for a test.
    """
    as_noted = not (data or num_labels or num_test or tiny)
    if which == "digits":
        load = partial(few_labels.split, data or _IMAGES, num_labels or 100, num_test or 500)
        plain = Arm("pixels", "linear on plain pixels", "control", run=_nothing, trains=False)
        made = _trial_of(load, plain, few_labels.pixel_vectors, tiny, _MOVED)
        return replace(made, notes=_NOTES if as_noted else ())
    load = partial(_recordings, data or _WORDS, num_labels or 50, num_test or 300)
    plain = Arm("plain", "linear on the spectrogram", "control", run=_nothing, trains=False)
    made = _trial_of(load, plain, _spectrograms, tiny, _SOUND)
    question = "Does predicting when pieces of a word sound help to tell words by few labels?"
    return replace(made, name="words", question=question, notes=_WORD_NOTES if as_noted else ())


def _recordings(source: str, num_labels: int, num_test: int) -> Data:
    """Spoken words at the rate that is read, so that no step resamples them."""
    found = few_labels.split(source, num_labels, num_test, field="audio")
    rate = _SOUND["sampling_rate"]

    def slower(row: dict[str, Any]) -> dict[str, Any]:
        array = samples(row["audio"], rate).numpy()
        return row | {"audio": {"array": array, "sampling_rate": rate}}

    return replace(
        found, train=[slower(row) for row in found.train], test=[slower(row) for row in found.test]
    )


def _spectrograms(rows: Sequence[Any]) -> NDArray[Any]:
    """What the encoders read of rows, as vectors [N, d]."""
    config = replace(Config.small(), **_SOUND)
    return patch_data.pixels(read_examples(rows, ("audio",)), config).flatten(1).numpy()


def _nothing(context: Any) -> None:
    """An arm without a network."""


def _trial_of(
    data: Callable[[], Data],
    plain: Arm,
    vectors: few_labels.Vectors,
    tiny: bool,
    inputs: Mapping[str, Any],
) -> Trial:
    """A trial on whatever an encoder of patches reads.

    Args:
        data: of it; see `few_labels.split`.
        plain: the arm without a network.
        vectors: what that arm's linear classifier reads of rows.
        tiny: networks small enough for a test.
        inputs: settings that say what is read.
    """
    changes = {**inputs, "finetune_ratio": 1 / 3}
    config = replace(Config.tiny() if tiny else Config.small(), **changes)
    autoencoder = replace(mae.Config.tiny() if tiny else mae.Config.small(), **changes)

    budget = Budget(90 if tiny else 1200, "steps")
    return Trial(
        question="Does predicting the places of patches help when labels are few, and can it stand"
        " in for position embeddings?",
        data=data,
        arms=_arms(config, autoencoder, plain),
        measure=partial(_measure, steps=budget.amount / 3, vectors=vectors),
        metric="nll",
        direction="lower",
        useful=0.02,
        relative=True,
        gate=Gate((plain.name, "random"), ceiling=0.0),
        tuning=Tuning((3e-4, 1e-3, 3e-3), "finetune_lr"),
        first_seed=100,
        packages=few_labels.NEEDED,
        budget=budget,
        claims=(
            ("mp3", "scratch", "nll", "lower"),
            ("mp3", "scratch", "accuracy", "higher"),
            ("mp3-none", "scratch-none", "nll", "lower"),
            ("mp3-none", "scratch", "nll", "lower"),
            ("mp3", "mae", "nll", "lower"),
            ("mp3", "mae", "probe_nll", "lower"),
        ),
    )


def _arms(config: Config, autoencoder: mae.Config, plain: Arm) -> tuple[Arm, ...]:
    """MP3 and what it is held against, then either with one setting changed."""

    def arm(name: str, label: str, role: Any = "ablation", **changes: Any) -> Arm:
        own, default = replace(config, **changes), role != "ablation"
        return Arm(name, label, role, "mp3", own, default=default, trains=name not in _IDLE)

    scratch: dict[str, Any] = {"finetune_ratio": 1.0}
    return (
        arm("mp3", "MP3", "method"),
        arm("mp3-none", "MP3, no positions", "method", positions="none"),
        arm("scratch", "from scratch, all steps", "baseline", **scratch),
        arm("scratch-none", "the same, no positions", "baseline", positions="none", **scratch),
        arm("random", "linear on states of random weights", "control"),
        Arm("mae", "MAE", "baseline", "mae", autoencoder),
        plain,
        arm("layer", "a context for each layer", context="layer"),
        arm("short", "from scratch, the steps of fine-tuning", **scratch),
        arm("open", "no token hidden", hidden_ratio=0.0),
        arm("quarter", "25 % hidden", hidden_ratio=0.25),
        arm("most", "75 % hidden", hidden_ratio=0.75),
        arm("relative", "relative positions", positions="relative"),
        arm(
            "scratch-relative", "from scratch, relative positions", positions="relative", **scratch
        ),
        arm("smooth", "smoothed targets", smoothing=1.0, smoothing_steps=300),
    )


def _measure(
    method: Any, found: Data, seed: int, *, steps: float, vectors: few_labels.Vectors
) -> dict[str, Any]:
    """What is said of each test example, by the method or, for None, by a linear classifier."""
    if method is None:
        return few_labels.plain_scores(found, vectors)
    if method.trained_classifier is None and method.config.finetune_ratio == 1:
        few_labels.train_stage(method.finetuning, method.read(found.train), steps, seed)
    return few_labels.scores(method, found)
