"""The trial of an encoder of texts: what do few labels teach a classifier that starts from it?

The task is that of `kit.packages`; trials differ in their arms, their question, and what else they
measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pretrial.compare.kit import packages
from pretrial.compare.trial import Data, Trial

#: The data on trial where none are named.
DOCSTRINGS = "builtin:stdlib-docstrings"

Measures = Mapping[str, float | list[float]]


def encoder_trial(
    *,
    data: str,
    num_labels: int,
    notes: tuple[str, ...],
    task: packages.Task = "classify",
    tiny: bool = False,
    split: Callable[[str, int], Data] = packages.data,
    further: Callable[[Any, Data], Measures] | None = None,
    **about: Any,
) -> Trial:
    """A trial on the task of `kit.packages`, of whose metric more is better.

    Args:
        data: names the data.
        num_labels: labelled texts to learn from.
        notes: for the record; they tell of the docstrings, and of networks that are not tiny.
        task: what counts.
        tiny: whether the networks are small enough for a test.
        split: makes the trial's data of the two above.
        further: what is measured besides, of a method and the data.
        about: further attributes of the trial, such as its question and arms.
    """

    def measure(method: Any, found: Data, seed: int) -> Measures:
        own = packages.measure(method, found.test, seed, num_labels=num_labels, task=task)
        return {**own, **(further(method, found) if further else {})}

    return Trial(
        data=partial(split, data, num_labels),
        measure=measure,
        metric=packages.METRICS[task],
        direction="higher",
        packages=packages.NEEDED,
        notes=notes if data == DOCSTRINGS and not tiny else (packages.RECIPE,),
        **about,
    )
