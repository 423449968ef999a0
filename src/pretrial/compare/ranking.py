"""Several methods side by side: one trial made of many, the ranking, the recommendation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pretrial import discover
from pretrial.compare import judging, sequential, stats
from pretrial.compare.making import make_one
from pretrial.compare.sequential import FEWEST
from pretrial.compare.stats import Interval
from pretrial.compare.trial import Arm, Claim, Trial
from pretrial.errors import UserError

if TYPE_CHECKING:
    from pretrial.compare.kit.on_labels import Way

Row = Mapping[str, Any]


def compose(
    slugs: Sequence[str], options: Mapping[str, Any], labels: Way | Literal[""] = ""
) -> Trial:
    """One trial of several methods: the data, the task and the budget of the first one's trial.

    The arms are the methods, each configured as in its own trial and trained from the start, the
    baseline of the first, and the trivial arms of its gate, which are the floor. There is one look,
    at five seeds, where no more are wanted. All are measured as in the first trial, so each must
    have the same metric in its own or all abilities of the first method. A method without a trial
    can take part where it is an arm of another's.

    Args:
        slugs: two or more.
        options: given to every `trial()` that takes them.
        labels: ask all for the labels of the data instead, by "probe" or "finetune".

    Raises:
        UserError: the methods are not measured alike, or one takes part in no trial; or it cannot
            be asked for labels.
    """
    # imported here, since pages rank without torch
    from pretrial.compare.kit.on_labels import on_labels, with_majority

    if labels:
        options = _for_labels(slugs, options, labels)
    trials = {slug: trial for slug in slugs if (trial := _trial(slug, options)) is not None}
    if not trials:
        raise UserError(f"none of {', '.join(slugs)} has a trial: compare methods that have one")
    lead, first = next(iter(trials.items()))
    for slug, trial in trials.items():
        if not labels:
            _check_alike(lead, slug, first, trial)
    arms = {slug: _arm_of(slug, trials) for slug in slugs}
    reference = first.reference()
    if reference.method not in arms:
        arms[reference.name] = dataclasses.replace(reference, role="baseline")
    baseline = reference.method if reference.method in arms else reference.name
    floor = {name: first.arm(name) for name in first.gate.trivial}
    made = dataclasses.replace(
        first,
        question=f"Which of {', '.join(slugs)} is best by {first.metric} at an equal budget?",
        title=" · ".join(slugs),
        arms=(*arms.values(), *floor.values()),
        baseline=baseline,
        claims=tuple(
            (name, baseline, first.metric, first.direction)
            for name, arm in arms.items()
            if arm.role == "method" and name != baseline
        ),
        premise=None,
        most_seeds=FEWEST,
        notes=tuple(dict.fromkeys(note for trial in trials.values() for note in trial.notes)),
    )
    if labels:
        return on_labels(made, options["data"], labels, arms[slugs[0]])
    return with_majority(made, options.get("data", ""))


def _for_labels(slugs: Sequence[str], options: Mapping[str, Any], labels: Way) -> Mapping[str, Any]:
    """The options with which trials make arms that are asked for labels.

    Raises:
        UserError: a method cannot be asked so, or the data is not an option.
    """
    from pretrial.compare.kit.on_labels import ABILITIES

    ability = ABILITIES[labels]
    unable = [slug for slug in slugs if not hasattr(discover.load(slug).method, ability)]
    if unable:
        other = "; --labels probe asks for vectors instead" if labels == "finetune" else ""
        raise UserError(
            f"{unable[0]} cannot be asked for labels, since it has no ability {ability!r}: leave it"
            f" out, or give --labels no{other}"
        )
    if not options.get("data"):
        raise UserError("--labels needs labelled data: give it with --data")
    return {**options, "task": "classify"}  # which decides the sizes of encoders of texts


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
        behind: the best arm minus this one, positive whichever way the metric is better, with its
            interval adjusted for the looks. None for the best.
        told_apart: whether it is behind the best beyond chance, corrected for the number of arms.
        about_equal: whether it is as good as the best but for less than what is useful.
        front: True where no other arm is both cheaper and better.
    """

    name: str
    label: str
    mean: Interval
    cost: float
    unit: str
    behind: Interval | None
    told_apart: bool
    about_equal: bool
    front: bool


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
    """The trained arms of a record, the best first; none where one training serves all arms.

    Arms that ran on pilot seeds alone, such as the floor, are left out.

    Args:
        record: or the part of one that it needs: arms, metric, direction, useful, groups, budget.
    """
    metric, sign = record["metric"], 1 if record["direction"] == "higher" else -1
    rows = [row for row in record["arms"] if row["trains"]]
    if not rows:
        return []
    seeds = set(max(rows, key=lambda row: len(row["seeds"]))["seeds"])
    rows = [row for row in rows if seeds & set(row["seeds"])]
    means = {row["name"]: stats.mean_interval(row["metrics"][metric]) for row in rows}
    costs = {row["name"]: cost_of(row, record["budget"]["unit"]) for row in rows}
    rows.sort(key=lambda row: -sign * means[row["name"]].value)
    leads = [
        judging.estimate(
            rows, Claim(rows[0]["name"], row["name"], metric, "higher"), record["groups"]
        )
        for row in rows[1:]
    ]
    p_values = stats.holm([found.p for found, _ in leads])

    def front(name: str) -> bool:
        own, price = sign * means[name].value, costs[name][0]
        return not any(
            sign * means[n].value >= own
            and costs[n][0] <= price
            and (sign * means[n].value, -costs[n][0]) != (own, -price)
            for n in means
        )

    def place(i: int) -> Ranked:
        name, label = rows[i]["name"], rows[i]["label"]
        behind, apart, equal = None, False, False
        if i:
            found, num_seeds = leads[i - 1]
            if sign < 0:
                found = dataclasses.replace(found, mean=-found.mean)
            look = sequential.look_at(num_seeds)
            behind = sequential.adjusted(found, look)
            if look is not None:
                apart = p_values[i - 1] < look.level and behind.low > 0
                near = sequential.equivalence(found, look)
                useful = record["useful"]["value"]
                equal = not apart and -useful < near.low and near.high < useful
        return Ranked(name, label, means[name], *costs[name], behind, apart, equal, front(name))

    return [place(i) for i in range(len(rows))]


def floor(record: Row) -> tuple[str, float] | None:
    """Label and mean of the best trivial arm of a record; None where it has none.

    With few seeds there is no gate; then the controls that do not train are the floor.
    """
    sign = 1 if record["direction"] == "higher" else -1
    trivial = floors(record)
    if not trivial:
        return None
    name = max(trivial, key=lambda each: sign * trivial[each])
    return next(arm["label"] for arm in record["arms"] if arm["name"] == name), trivial[name]


def floors(record: Row) -> dict[str, float]:
    """What the trivial arms reached, by name."""
    if record["gate"]:
        return dict(record["gate"]["trivial"])
    metric = record["metric"]
    found = {
        arm["name"]: arm["metrics"].get(metric, ())
        for arm in record["arms"]
        if arm["role"] == "control" and not arm["trains"]
    }
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def beats_floor(record: Row) -> bool:
    """Whether the best arm is better than the best trivial one; False where there is no floor."""
    ranked = rank(record)
    return bool(ranked and floor(record) and not _below_floor(record, ranked[0]))


def headline(record: Row) -> str:
    """Whether anything beats the floor: what a comparison says first; "" where it has no floor."""
    ranked, found = rank(record), floor(record)
    if not ranked or found is None:
        return ""
    best, (label, value), metric = ranked[0], found, record["metric"]
    figures = f"reaches {best.mean.value:.3g} of {metric}, {label} {value:.3g}"
    if _below_floor(record, best):
        return f"Nothing here beats {label}: the best, {best.label}, {figures}."
    if len(record["setting"]["seeds"]) < sequential.FEWEST:
        return f"{best.label} is ahead of the floor so far: it {figures}."
    return f"{best.label} beats the floor: it {figures}."


def recommendation(record: Row) -> str:
    """Which arm to take and how sure that is, in a sentence; none where all are below the floor."""
    ranked = rank(record)
    if not ranked:
        return "No arm is trained on its own, so there is no cost to weigh: the effects say it all."
    below = _below_floor(record, ranked[0])
    if below:
        return below
    sentence = _sentence(record, ranked)
    seeds = len(record["setting"]["seeds"])
    if seeds < sequential.FEWEST:
        sentence += (
            f" Fewer than {sequential.FEWEST} seeds decide nothing: run more (this was {seeds})."
        )
    return sentence


def _below_floor(record: Row, best: Ranked) -> str:
    """What to say where the best arm is no better than a trivial one; "" where it is."""
    found = floor(record)
    sign = 1 if record["direction"] == "higher" else -1
    useful = record["useful"]["value"]
    if found is None or sign * (best.mean.value - found[1]) > useful:
        return ""
    label, value = found
    by = f" by the {useful:.3g} that matter" if useful else ""
    return (
        f"None of these is better than {label} ({value:.3g} of {record['metric']}){by}: the best,"
        f" {best.label}, reaches {best.mean.value:.3g}. Take {label}, or give a larger --budget, or"
        " a public checkpoint to start from with --init."
    )


def _sentence(record: Row, ranked: Sequence[Ranked]) -> str:
    best, others = ranked[0], ranked[1:]
    if not others:
        return f"{best.label} ran alone, so there is nothing to recommend it over."
    seeds = len(record["setting"]["seeds"])
    near = [r for r in others if not r.told_apart]
    if not near:
        second = others[0]
        assert second.behind is not None
        lead = second.behind
        return (
            f"Take {best.label}: it leads {_names(others)} by {lead.value:.3g} or more in"
            f" {record['metric']} (interval of the smallest lead, adjusted for the looks,"
            f" {lead.low:.3g} to {lead.high:.3g}, {seeds} seeds)."
        )
    usable = [best, *(r for r in near if not _below_floor(record, r))]
    cheap = min(usable, key=lambda r: r.cost)
    them = "them" if len(usable) > len(near) else "those that beat the trivial answers"
    so_far = "about equal to" if all(r.about_equal for r in near) else "not told apart from"
    start = f"{best.label} came first by {record['metric']}, but is {so_far} {_names(near)}"
    start += f" with {seeds} seeds at this budget"
    if cheap is best:
        so_take = "" if seeds < sequential.FEWEST else ", so take it"
        return f"{start}; it is also the cheapest of {them}{so_take}."
    return (
        f"{start}; the cheapest of {them} is {cheap.label}"
        f" ({cheap.cost / best.cost:.2g} times the {best.unit} of {best.label})."
    )


def _names(rows: Sequence[Ranked]) -> str:
    labels = [row.label for row in rows]
    return labels[0] if len(labels) == 1 else ", ".join(labels[:-1]) + " and " + labels[-1]
