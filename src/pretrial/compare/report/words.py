"""What a record says, in sentences; the same on the terminal and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretrial.compare import ranking, sequential
from pretrial.compare.numbers import interval_of
from pretrial.compare.ranking import floor, recommendation
from pretrial.compare.report.svg import number

Record = Mapping[str, Any]


def _first(text: str) -> tuple[str, str]:
    """The first sentence, and the others."""
    first, end, others = text.partition(". ")
    return first + end.strip(), others


def beneath(record: Record) -> list[str]:
    """What stands under the headline: what else a comparison recommends, and what to do next."""
    others = ""
    if record["kind"] != "trial":
        whole = recommendation(record)
        others = whole if ranking.beats_floor(record) else _first(whole)[1]
    return [text for text in (others, _next(record)) if text]


def explain(record: Record) -> list[str]:
    """Why the verdict is what it is, and what to do next: some sentences, the verdict first."""
    made = [record["verdict"] + ": " + _why(record)] if record["kind"] == "trial" else []
    following = _next(record)
    return [*made, *([following] if following else [])]


def headline(record: Record) -> str:
    """What was found, in a sentence that begins with the verdict; of a comparison what came out."""
    if record["kind"] != "trial":
        return ranking.headline(record) or _first(recommendation(record))[0]
    verdict, claims = record["verdict"], record["claims"]
    if not claims:
        return f"{verdict.capitalize()}: {_why(record)}"
    claim = claims[0]
    arms = {arm["name"]: arm for arm in record["arms"]}
    if verdict not in ("better", "worse"):
        pair = " against ".join(arms[claim[side]]["label"] for side in ("arm", "baseline"))
        return f"{verdict.capitalize()}: {pair} in {claim['metric']}; {_why(record)}"
    ours, theirs = (
        f"{arms[claim[side]]['label']} {_mean(arms[claim[side]], claim['metric'])}"
        for side in ("arm", "baseline")
    )
    interval = interval_of(claim["difference"])
    side = "higher" if (verdict == "better") == (claim["expect"] == "higher") else "lower"
    return (
        f"{verdict.capitalize()}: {side} {claim['metric']}, {ours} against {theirs}; the difference"
        f" is {number(interval.value)} ({number(interval.low)} to {number(interval.high)})."
    )


def _mean(arm: Record, metric: str) -> str:
    values = arm["metrics"][metric]
    return number(sum(values) / len(values))


def claim_sentence(claim: Record, labels: Mapping[str, str], useful: float = 0.0) -> str:
    """A claim and what became of it.

    Args:
        claim: of a record.
        labels: of the arms, by name.
        useful: the smallest difference that matters, where the claim is the primary one.
    """
    ours, theirs = labels[claim["arm"]], labels[claim["baseline"]]
    text = f"**{ours}** has {claim['expect']} {claim['metric']} than {theirs}"
    interval = interval_of(claim["difference"])
    text += f": difference {number(interval.value)}"
    if claim["difference"]["low"] is None:
        return text + "."
    adjusted = "interval adjusted for the looks" if claim["seeds"] >= 5 else "95 % interval"
    text += f" ({adjusted} {number(interval.low)} to {number(interval.high)})"
    if claim["verdict"] in ("better", "worse"):
        nearest = min(abs(interval.low), abs(interval.high))
        text += f", so it is {claim['verdict']} by at least {number(nearest)}"
        if max(abs(interval.low), abs(interval.high)) < useful:
            text += f", though by less than the {number(useful)} that matter"
    return text + "."


def _why(record: Record) -> str:
    gate, premise, verdict = record["gate"], record["premise"], record["verdict"]
    useful, metric = record["useful"]["value"], record["metric"]
    labels = {arm["name"]: arm["label"] for arm in record["arms"]}
    if verdict == "nothing learnt":
        found = floor(record)
        assert found is not None
        return (
            f"{labels[record['baseline']]} reached {number(gate['baseline'])} of {metric} and"
            f" {found[0]} {number(found[1])}, so that training taught nothing that"
            f" matters (at least {number(useful)})."
        )
    if gate and not gate["room"]:
        return (
            f"{labels[record['baseline']]} reached {number(gate['baseline'])} of {metric}, of at"
            f" most {number(gate['ceiling'])}, which leaves nothing to gain that matters."
        )
    if premise and not premise["passed"]:
        return (
            f"{premise['text']} is what the method is for, and it is not there: {premise['metric']}"
            f" is {number(premise['value'])}, less than {number(premise['least'])}."
        )
    if not record["claims"]:
        return "no method and baseline ran together."
    claim = record["claims"][0]
    if claim["seeds"] < sequential.FEWEST:
        return f"fewer than {sequential.FEWEST} seeds decide nothing (this was {claim['seeds']})."
    if verdict == "about equal":
        near = interval_of(claim["equivalence"])
        ends = f"{number(near.low)} to {number(near.high)}"
        return f"the difference ({ends}) is smaller than the {number(useful)} that matter."
    if verdict == "no useful gain":
        return f"a gain of the {number(useful)} that matter is ruled out."
    if verdict == "undecided":
        return f"{claim['seeds']} seeds cannot tell."
    return claim_sentence(claim, labels, useful).replace("**", "")


def _next(record: Record) -> str:
    """What another try would cost; "" where none is needed."""
    found = record["next"]
    if found is None:
        return ""
    low, high = (number(minutes) for minutes in found["minutes"])
    if found["budget_factor"] > 1:
        budget = record["budget"]
        amount = f"{budget['amount'] * found['budget_factor']:.6g}{budget['unit']}"
        tried = f"--budget {amount}"
    else:
        tried = f"--seeds {found['seeds']}"
    return f"Next: {tried}, some {low} to {high} processor minutes."
