"""Seeds until it is decided: looks at 5, 8, 12 and 16 seeds, and what follows at each.

Looking several times errs more often than looking once, so that each look has a level of its own.
The levels are those of a t test over seeds with which the whole procedure errs in 5 % of trials for
each of its questions: is there a difference, and is it smaller than `useful`? They were found by
simulation (400,000 trials: 0.0497 for a difference, at most 0.0500 for equivalence), and a test
simulates the procedure as it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pretrial.compare.stats import Estimate, Interval

Verdict = Literal[
    "better",
    "worse",
    "about equal",
    "no useful gain",
    "undecided",
    "nothing learnt",
    "premise absent",
]

#: Verdicts that answer the question of a trial.
DECIDED: tuple[Verdict, ...] = ("better", "worse", "about equal", "no useful gain")


@dataclass(frozen=True)
class Look:
    """One look at what the seeds have given.

    Attributes:
        seeds: how many there are.
        level: two-sided level of a difference.
        equivalence: one-sided level at each end of +-`useful`.
    """

    seeds: int
    level: float
    equivalence: float


LOOKS = (
    Look(5, 0.0216, 0.0215),
    Look(8, 0.0142, 0.0157),
    Look(12, 0.0157, 0.0179),
    Look(16, 0.0167, 0.0188),
)
FEWEST, MOST = LOOKS[0].seeds, LOOKS[-1].seeds


def look_at(seeds: int) -> Look | None:
    """The look at that many seeds, with the level of the next planned one; None below five."""
    planned = next((look for look in LOOKS if look.seeds >= seeds), LOOKS[-1])
    return None if seeds < FEWEST else Look(seeds, planned.level, planned.equivalence)


def looks_up_to(most: int) -> tuple[Look, ...]:
    """The looks of a trial of at most so many seeds; the last is at `most`. None below five."""
    last = look_at(most)
    return (*(look for look in LOOKS if look.seeds < most), last) if last else ()


def adjusted(estimate: Estimate, look: Look | None) -> Interval:
    """The interval of a difference, adjusted for the looks; at 95 % where there is no look."""
    return estimate.interval(1 - look.level if look else 0.95)


def equivalence(estimate: Estimate, look: Look) -> Interval:
    """The interval that must lie within +-`useful` for two arms to be about equal."""
    return estimate.interval(1 - 2 * look.equivalence)


def decide(estimate: Estimate, look: Look, useful: float, expect: str) -> Verdict | None:
    """The verdict of a look, or None to go on.

    Args:
        estimate: of the difference, ours minus theirs.
        look: of as many seeds as the estimate is made of.
        useful: the smallest difference that would matter; 0 where none is stated, and then nothing
            is about equal.
        expect: "higher" or "lower", which way the metric is better.
    """
    found = adjusted(estimate, look)
    if found.low > 0 or found.high < 0:
        return "better" if (found.low > 0) == (expect == "higher") else "worse"
    near = equivalence(estimate, look)
    if -useful < near.low and near.high < useful:
        return "about equal"
    return None


def conclude(estimate: Estimate, look: Look | None, useful: float, expect: str) -> Verdict:
    """The verdict of the last look; `undecided` where there are too few seeds for any.

    Args: as of `decide`.
    """
    if look is None:
        return "undecided"
    made = decide(estimate, look, useful, expect)
    if made is not None:
        return made
    near = equivalence(estimate, look)
    gain = near.high if expect == "higher" else -near.low
    return "no useful gain" if gain < useful else "undecided"
