"""The trial of MaskedImage: few labels, with and without its pre-training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pretrial.compare.kit import few_labels
from pretrial.compare.trial import Arm, Data, Gate, Trial, Tuning
from pretrial.train.budget import Budget

from . import Config


def trial(
    *,
    data: str = few_labels.DIGITS,
    num_labels: int = 100,
    num_test: int = 500,
    tiny: bool = False,
) -> Trial:
    """Painting, then few labels, against fine-tuning from scratch at an equal budget.

    Args:
        data: images of 8x8 pixels with `label`.
        num_labels: images that keep their label.
        num_test: images to test on.
        tiny: a network and a budget small enough for a test.
    """
    config = replace(Config.tiny() if tiny else Config.small(), finetune_ratio=1 / 3)
    scratch = replace(config, finetune_ratio=1.0)

    def measure(method: Any, found: Data, seed: int) -> dict[str, Any]:
        return few_labels.scores(method, found)

    return Trial(
        question="Does painting hidden patches help when labels are few?",
        data=lambda: few_labels.split(data, num_labels, num_test),
        arms=(
            Arm("painting", "MaskedImage", "method", "masked_image", config),
            Arm("scratch", "from scratch, all steps", "baseline", "masked_image", scratch),
            Arm(
                "all-patches",
                "seen patches count too",
                "ablation",
                "masked_image",
                replace(config, paint_all=True),
                default=False,
            ),
        ),
        measure=measure,
        metric="accuracy",
        direction="higher",
        useful=0.02,  # the smallest difference that would matter
        gate=Gate(ceiling=1.0),  # the baseline must leave so much to gain
        tuning=Tuning((3e-4, 1e-3, 3e-3)),  # of the learning rate, on a seed that does not count
        packages=few_labels.NEEDED,
        budget=Budget(30 if tiny else 600, "steps"),
    )
