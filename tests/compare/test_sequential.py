"""The procedure itself, simulated as it runs: how often each verdict is wrong, how often right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from pretrial.compare import judging, sequential
from pretrial.compare.stats import Estimate, paired
from pretrial.compare.trial import Claim, Trial

TRIALS = 2000
MOST_WRONG = 0.055
CLAIM = Claim("ours", "theirs", "score", "higher")
ITEMS = 60

Table = Callable[[np.random.Generator], tuple[np.ndarray, list[int] | None]]


def spread(by_seed: float, by_item: float, rest: float = 0.4) -> Table:
    """Differences [16 seeds, items], around 0."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, None]:
        table = by_seed * rng.standard_normal((16, 1)) + by_item * rng.standard_normal(ITEMS)
        return table + rest * rng.standard_normal((16, ITEMS)), None

    return draw


def grouped(rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    sizes = rng.multinomial(ITEMS - 12, np.full(12, 1 / 12)) + 1
    groups = np.repeat(np.arange(12), sizes)
    table = 0.2 * rng.standard_normal(12)[groups] + 0.4 * rng.standard_normal((16, ITEMS))
    return table + 0.05 * rng.standard_normal((16, 1)), groups.tolist()


def heavy(rng: np.random.Generator) -> tuple[np.ndarray, None]:
    """Student's t with three degrees of freedom, over seeds and over items."""
    table = 0.05 * rng.standard_t(3, (16, 1)) + 0.1 * rng.standard_t(3, ITEMS)
    return table + 0.4 * rng.standard_normal((16, ITEMS)), None


KINDS = {
    "seeds dominate": spread(0.2, 0.02),
    "items dominate": spread(0.01, 0.4),
    "both alike": spread(0.08, 0.3),
    "grouped items": grouped,
    "heavy tails": heavy,
}


def rows(table: np.ndarray, num_seeds: int) -> list[dict]:
    """Arms as a record has them, whose difference is the table."""
    seeds = list(range(num_seeds))
    return [
        {
            "name": name,
            "seeds": seeds,
            "metrics": {"score": values.mean(axis=1)},
            "items": {"score": values},
        }
        for name, values in (
            ("ours", table[:num_seeds]),
            ("theirs", np.zeros_like(table[:num_seeds])),
        )
    ]


def verdict(table: np.ndarray, groups: list[int] | None, useful: float) -> str:
    """What the engine does: look until a look decides, then judge on the seeds that there are."""
    named = {} if groups is None else {"score": groups}
    looks = sequential.looks_up_to(sequential.MOST)
    for at in looks:
        if judging.look(rows(table, at.seeds), CLAIM, at.seeds, useful, named)["decision"]:
            break
    return judging.judge(rows(table, at.seeds), [CLAIM], useful, named)[0]["verdict"]


@pytest.mark.parametrize("kind", KINDS)
def test_error_rates_of_the_whole_procedure(kind: str) -> None:
    rng = np.random.default_rng(sum(map(ord, kind)))
    size = float(np.std([KINDS[kind](rng)[0].mean() for _ in range(300)]))  # of a trial's mean
    useful = 4 * size
    at_null, at_edge = Counter(), Counter()
    for _ in range(TRIALS):
        table, groups = KINDS[kind](rng)
        at_null[verdict(table, groups, useful)] += 1
        at_edge[verdict(table + useful, groups, useful)] += 1
    wrong = at_null["better"] + at_null["worse"]
    assert wrong / at_null.total() <= MOST_WRONG
    # at an effect of exactly `useful`, both of these say that it is smaller
    too_small = at_edge["about equal"] + at_edge["no useful gain"]
    assert too_small / at_edge.total() <= MOST_WRONG
    assert at_edge["worse"] / at_edge.total() <= 0.005


def over_seeds(draws: np.ndarray, effect: float, useful: float) -> Counter[str]:
    """Verdicts of trials whose metric has no items."""
    made: Counter[str] = Counter()
    for row in draws + effect:
        for at in sequential.looks_up_to(sequential.MOST):
            found = paired(row[: at.seeds])
            if sequential.decide(found, at, useful, "higher"):
                break
        made[sequential.conclude(found, at, useful, "higher")] += 1
    return made


def test_error_rates_and_power_over_seeds_alone() -> None:
    draws = np.random.default_rng(3).standard_normal((TRIALS, sequential.MOST))
    null = over_seeds(draws, 0.0, useful=2.0)
    assert (null["better"] + null["worse"]) / TRIALS <= MOST_WRONG
    assert null["about equal"] / TRIALS >= 0.9
    edge = over_seeds(draws, 1.5, useful=1.5)
    assert (edge["about equal"] + edge["no useful gain"]) / TRIALS <= MOST_WRONG
    strong = over_seeds(draws, 2.0, useful=0.5)
    assert strong["better"] / TRIALS >= 0.95
    assert strong["worse"] == 0


def test_looks() -> None:
    assert [look.seeds for look in sequential.looks_up_to(16)] == [5, 8, 12, 16]
    assert [look.seeds for look in sequential.looks_up_to(10)] == [5, 8, 10]
    assert sequential.looks_up_to(10)[-1].level == sequential.LOOKS[2].level
    assert sequential.looks_up_to(4) == ()
    assert sequential.look_at(4) is None
    assert Trial.most_seeds == sequential.MOST


def estimate(mean: float, se: float) -> Estimate:
    return Estimate(mean, se, 15, "seeds")


@pytest.mark.parametrize(
    ("mean", "se", "useful", "expect", "wanted"),
    [
        (0.10, 0.01, 0.05, "higher", "better"),
        (0.10, 0.01, 0.05, "lower", "worse"),
        (-0.10, 0.01, 0.05, "lower", "better"),
        (0.01, 0.01, 0.05, "higher", "about equal"),
        (0.01, 0.01, 0.0, "higher", "undecided"),  # nothing useful was stated
        (-0.03, 0.02, 0.05, "higher", "no useful gain"),
        (0.03, 0.02, 0.05, "lower", "no useful gain"),
        (0.03, 0.02, 0.05, "higher", "undecided"),
        (0.03, float("nan"), 0.05, "higher", "undecided"),
    ],
)
def test_verdicts(mean, se, useful, expect, wanted) -> None:
    made = sequential.conclude(estimate(mean, se), sequential.look_at(16), useful, expect)
    assert made == wanted
    assert sequential.conclude(estimate(mean, se), None, useful, expect) == "undecided"
