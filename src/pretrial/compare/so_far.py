"""What a trial has while it is still held; of no use for a verdict, but to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.compare.recording import Results
from pretrial.compare.setting import Setting
from pretrial.compare.trial import Trial


@dataclass(frozen=True)
class SoFar:
    """The jobs that are done by now.

    Attributes:
        setting: of the trial.
        trial: made of it.
        results: of the jobs, by arm and seed; those of pilot seeds and preparations included.
        looks: those that were taken.
        done, total: jobs of the present step, which others may follow.
    """

    setting: Setting
    trial: Trial
    results: Results
    looks: Sequence[Mapping[str, Any]]
    done: int
    total: int


#: Called whenever a job has ended.
Renew = Callable[[SoFar], None]
