"""The trials of MP3: digits of 8x8 pixels, and spoken words, with few labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from pretrial.bases.examples import read_examples
from pretrial.bases.patch_encoder import data as patch_data
from pretrial.compare.kit import few_labels
from pretrial.compare.trial import Arm, Data, Trial
from pretrial.data.media.audio import samples
from pretrial.methods.vision import mae
from pretrial.methods.vision.mp3.config import Config
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

_WORD_NOTES = (
    "Recordings of a second, of which a token has 40 ms: 24 tokens, 0.2 M parameters, 600 steps of"
    " pre-training and 300 of fine-tuning; the paper has larger encoders and recorded speech.",
    "A formant synthesiser speaks ten words in 24 voices at three speeds. Voices that are tested on"
    " are not trained on. Each word stands within 0.1 s of the middle, as in Speech Commands.",
    "The recipe is that of the trial on digits, for all arms alike. None of it was tuned here.",
    "An arm without pre-training fine-tunes for all 900 steps; the control does so for the 300 that"
    " the others spend on it.",
    "probe_accuracy is that of a linear classifier on the mean of the states before fine-tuning; in"
    " arms without pre-training these are states of random weights, and in the last control it is"
    " the spectrogram itself.",
    "MAE hides half of the tokens too, has a decoder of one layer, and predicts the spectrogram as"
    " it is. Its positions begin as the fixed ones.",
)

_WORDS = "builtin:spoken-words"

# A second of sound: 24 tokens of four frames.
_SOUND: dict[str, Any] = {
    "input": "audio",
    "sampling_rate": 8000,
    "seconds": 1.0,
    "num_mels": 40,
    "frames": 4,
}


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
        data: images of 8x8 pixels, or recordings of a second, with `label`; by default the digits
            of scikit-learn, or words spoken by espeak-ng, which must be installed.
        num_labels: examples that keep their label; 0 is 100 images, or 50 recordings.
        num_test: examples to test on; 0 is 500 images, or 180 recordings.
        tiny: networks small enough for a test.
    """
    as_noted = not (data or num_labels or num_test or tiny)
    if which == "digits":
        load = partial(
            few_labels.split, data or few_labels.DIGITS, num_labels or 100, num_test or 500
        )
        plain = Arm("pixels", "linear on plain pixels", "control", run=_nothing, trains=False)
        made = _trial_of(load, plain, few_labels.pixel_vectors, tiny, {})
        return replace(made, notes=_NOTES if as_noted else ())
    load = partial(_recordings, data or _WORDS, num_labels or 50, num_test or 180)
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
    budget = Budget(90 if tiny else 900, "steps")

    return Trial(
        question="Does predicting the places of patches help when labels are few, and can it stand"
        " in for position embeddings?",
        data=data,
        arms=_arms(config, autoencoder, plain),
        measure=partial(_measure, steps=budget.amount / 3, vectors=vectors),
        metric="accuracy",
        direction="higher",
        packages=few_labels.NEEDED,
        budget=budget,
        claims=(
            ("mp3", "scratch", "accuracy", "higher"),
            ("mp3", "short", "accuracy", "higher"),
            ("mp3-none", "scratch-none", "accuracy", "higher"),
            ("mp3-none", "scratch", "accuracy", "higher"),
            ("mp3", "scratch", "probe_accuracy", "higher"),
            ("mp3", "mae", "accuracy", "higher"),
            ("mp3", "mae", "probe_accuracy", "higher"),
        ),
    )


def _arms(config: Config, autoencoder: mae.Config, plain: Arm) -> tuple[Arm, ...]:
    """MP3 and what it is held against, then either with one setting changed."""

    def arm(name: str, label: str, role: Any = "ablation", **changes: Any) -> Arm:
        own, default = replace(config, **changes), role != "ablation"
        return Arm(name, label, role, "mp3", own, default=default, trains=name != "short")

    scratch: dict[str, Any] = {"finetune_ratio": 1.0}
    return (
        arm("mp3", "MP3", "method"),
        arm("mp3-none", "MP3, no positions", "method", positions="none"),
        arm("scratch", "from scratch, all steps", "baseline", **scratch),
        arm("scratch-none", "the same, no positions", "baseline", positions="none", **scratch),
        arm("short", "from scratch, the steps of fine-tuning", "control", **scratch),
        Arm("mae", "MAE", "baseline", "mae", autoencoder),
        plain,
        arm("layer", "a context for each layer", context="layer"),
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
) -> dict[str, list[float]]:
    """For each test example whether it was classified rightly."""
    if method is None:
        return few_labels.plain_accuracies(found, vectors)
    if method.trained_classifier is None:
        few_labels.train_stage(method.finetuning, method.read(found.train), steps, seed)
    return few_labels.accuracies(method, found)
