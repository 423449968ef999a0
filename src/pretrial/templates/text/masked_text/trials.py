"""The trial of MaskedText against the same encoder without its mechanism."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pretrial.compare.kit import packages
from pretrial.compare.trial import Arm, Data, Gate, Trial, Tuning, Values
from pretrial.train.budget import Budget

from . import Config


def trial(
    *, data: str = "builtin:stdlib-docstrings", num_labels: int = 300, tiny: bool = False
) -> Trial:
    """Weighted against plain masked tokens, at an equal budget.

    Args:
        data: rows with `text`, `label` and, where texts of one origin are alike, `module`.
        num_labels: labelled texts to learn from.
        tiny: a network and a budget small enough for a test.
    """
    config = Config.tiny() if tiny else Config.small()
    plain = replace(config, focus=0.0)

    def measure(method: Any, found: Data, seed: int) -> Values:
        return packages.measure(method, found.test, seed, num_labels=num_labels, task="probe")

    return Trial(
        question="Does an encoder learn more where hard tokens count more?",
        data=lambda: packages.data(data, num_labels),
        arms=(
            Arm("weighted", "MaskedText", "method", "masked_text", config),
            Arm("plain", "all tokens alike", "baseline", "masked_text", plain),
            Arm("random", "random weights", "control", "masked_text", plain, trains=False),
        ),
        measure=measure,
        metric="probe_accuracy",
        direction="higher",
        useful=0.02,  # the smallest difference that would matter
        gate=Gate(trivial=("random",), ceiling=1.0),  # what the baseline has to beat
        tuning=Tuning((3e-4, 1e-3, 3e-3)),  # of the learning rate, on a seed that does not count
        packages=packages.NEEDED,
        budget=Budget(12 if tiny else 300, "steps"),
    )
