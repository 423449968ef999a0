"""Several methods side by side: one trial made of many, the ranking, the recommendation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrial import discover
from pretrial.compare import stats
from pretrial.compare.making import make_one
from pretrial.compare.stats import Estimate, Interval
from pretrial.compare.trial import Arm, Trial
from pretrial.errors import UserError

Row = Mapping[str, Any]


def compose(slugs: Sequence[str], options: Mapping[str, Any]) -> Trial:
    """One trial of several methods: the data, the task and the budget of the first one's trial.

    The arms are the methods, each configured as in its own trial and trained from the start, and
    the baseline of the first. All are measured as in the first trial, so each must have the same
    metric in its own or all abilities of the first method. A method without a trial can take part
    where it is an arm of another's.

    Args:
        slugs: two or more.
        options: given to every `trial()` that takes them.

    Raises:
        UserError: the methods are not measured alike, or one takes part in no trial.
    """
    trials = {slug: trial for slug in slugs if (trial := _trial(slug, options)) is not None}
    if not trials:
        raise UserError(f"none of {', '.join(slugs)} has a trial: compare methods that have one")
    lead, first = next(iter(trials.items()))
    for slug, trial in trials.items():
        _check_alike(lead, slug, first, trial)
    arms = {slug: _arm_of(slug, trials) for slug in slugs}
    if first.reference().method not in arms:
        arms[first.reference().name] = dataclasses.replace(first.reference(), role="baseline")
    baseline = first.reference().method if first.reference().method in arms else ""
    return dataclasses.replace(
        first,
        question=f"Which of {', '.join(slugs)} is best by {first.metric} at an equal budget?",
        title=" · ".join(slugs),
        arms=tuple(arms.values()),
        baseline=baseline,
        claims=tuple(
            (name, baseline or first.reference().name, first.metric, first.direction)
            for name, arm in arms.items()
            if arm.role == "method" and name != baseline
        ),
        notes=tuple(dict.fromkeys(note for trial in trials.values() for note in trial.notes)),
    )


def _check_alike(lead: str, slug: str, first: Trial, trial: Trial) -> None:
    """Refuses a method that the measure of the first trial cannot be meant for."""
    ours, theirs = (discover.load(name).card.abilities for name in (lead, slug))
    missing = [ability for ability in ours if ability not in theirs]
    if missing and (trial.metric, trial.direction) != (first.metric, first.direction):
        raise UserError(
            f"{lead} and {slug} cannot be compared: the metric of one is {first.metric}, of the"
            f" other {trial.metric}, and {slug} cannot {missing[0]!r}; compare methods that can do"
            " the same"
        )


def _trial(slug: str, options: Mapping[str, Any]) -> Trial | None:
    function = discover.load(slug).trial
    if function is None:
        return None
    return make_one(slug, {k: v for k, v in options.items() if k in _parameters(function)})


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def _arm_of(slug: str, trials: Mapping[str, Trial]) -> Arm:
    """The arm that trains this method: of its own trial, or of the first that has it."""
    own = [trials[slug]] if slug in trials else list(trials.values())
    for trial in own:
        for arm in trial.arms:
            if arm.method == slug and arm.role in ("method", "baseline"):
                return dataclasses.replace(arm, name=slug, role="method", default=True)
    raise UserError(f"{slug} has no trial and is no arm of the others' trials")


@dataclass(frozen=True)
class Ranked:
    """One arm of a ranking.

    Attributes:
        name, label: of the arm.
        mean: the metric over seeds.
        cost: mean of what it cost, in `unit`.
        unit: of the cost.
        behind: the best arm minus this one, or None for the best.
        p_adjusted: of no difference from the best, corrected for the number of arms.
        front: True where no other arm is both cheaper and better.
    """

    name: str
    label: str
    mean: Interval
    cost: float
    unit: str
    behind: Estimate | None
    p_adjusted: float
    front: bool

    @property
    def told_apart(self) -> bool:
        """Whether it is behind the best beyond chance."""
        if self.behind is None:
            return False
        return stats.verdict(self.behind.interval, self.p_adjusted, "higher") == "shown"


def cost_of(row: Row, equal_unit: str) -> tuple[float, str]:
    """What an arm cost, in the first unit in which arms were not made equal: seconds, or FLOPs."""
    totals: dict[str, float] = {}
    for amounts in row["spent"].values():
        for unit, amount in amounts.items():
            totals[unit] = totals.get(unit, 0.0) + amount
    for unit in ("seconds", "flops", "tokens", "examples", "steps"):
        if unit != equal_unit and totals.get(unit):
            return totals[unit], unit
    return totals.get(equal_unit, 0.0), equal_unit


def rank(record: Row) -> list[Ranked]:
    """The trained arms of a record, the best first; none where one training serves all arms."""
    metric, sign = record["metric"], 1 if record["direction"] == "higher" else -1
    rows = [row for row in record["arms"] if row["trains"]]
    if not rows:
        return []
    means = {row["name"]: stats.mean_interval(row["metrics"][metric]) for row in rows}
    costs = {row["name"]: cost_of(row, record["budget"]["unit"]) for row in rows}
    rows.sort(key=lambda row: -sign * means[row["name"]].value)
    behind = [_lead(rows[0], row, metric, sign) for row in rows[1:]]
    adjusted = stats.holm([estimate.p for estimate in behind])

    def front(name: str) -> bool:
        own, price = sign * means[name].value, costs[name][0]
        return not any(
            sign * means[n].value >= own
            and costs[n][0] <= price
            and (sign * means[n].value, -costs[n][0]) != (own, -price)
            for n in means
        )

    return [
        Ranked(
            row["name"], row["label"], means[row["name"]], *costs[row["name"]], estimate, p,
            front(row["name"]),
        )
        for row, estimate, p in zip(rows, [None, *behind], [1.0, *adjusted], strict=True)
    ]  # fmt: skip


def _lead(best: Row, other: Row, metric: str, sign: int) -> Estimate:
    """How far the best is ahead: positive whichever way the metric is better."""
    found = stats.difference(
        best["metrics"][metric],
        other["metrics"][metric],
        best["items"].get(metric),
        other["items"].get(metric),
    )
    if sign > 0:
        return found
    i = found.interval
    return Estimate(Interval(-i.value, -i.high, -i.low), found.p, found.over)


def recommendation(record: Row) -> str:
    """Which arm to take and how sure that is, in a sentence; in two where there is one seed."""
    ranked = rank(record)
    if not ranked:
        return "No arm is trained on its own, so there is no cost to weigh: the effects say it all."
    sentence = _sentence(record, ranked)
    if len(record["setting"]["seeds"]) == 1:
        sentence += " With one seed, chance in training is left out of this: run more seeds."
    return sentence


def _sentence(record: Row, ranked: Sequence[Ranked]) -> str:
    best, others = ranked[0], ranked[1:]
    if not others:
        return f"{best.label} ran alone, so there is nothing to recommend it over."
    seeds = len(record["setting"]["seeds"])
    near = [r for r in others if not r.told_apart]
    if not near:
        second = others[0]
        assert second.behind is not None
        lead = second.behind.interval
        return (
            f"Take {best.label}: it leads {_names(others)} by {lead.value:.3g} or more in"
            f" {record['metric']} (95 % interval of the smallest lead {lead.low:.3g} to"
            f" {lead.high:.3g}, {seeds} seeds)."
        )
    cheap = min([best, *near], key=lambda r: r.cost)
    start = (
        f"{best.label} came out first by {record['metric']}, but with {seeds} seeds at this budget"
        f" it cannot be told apart from {_names(near)}"
    )
    if cheap is best:
        return f"{start}; it is also the cheapest of them, so take it."
    return (
        f"{start}; the cheapest of them is {cheap.label}"
        f" ({cheap.cost / best.cost:.2g} times the {best.unit} of {best.label})."
    )


def _names(rows: Sequence[Ranked]) -> str:
    labels = [row.label for row in rows]
    return labels[0] if len(labels) == 1 else ", ".join(labels[:-1]) + " and " + labels[-1]
