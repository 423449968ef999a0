"""From what was measured to verdicts: claims, gate, premise. It needs but the rows of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrial.compare import sequential, stats
from pretrial.compare.numbers import interval_json, rounded
from pretrial.compare.trial import Claim, Gate, Premise
from pretrial.errors import UserError

Row = Mapping[str, Any]
Groups = Mapping[str, Sequence[int]]


def estimate(rows: Sequence[Row], claim: Claim, groups: Groups) -> tuple[stats.Estimate, int]:
    """The difference of a claim's two arms over the seeds that both ran, and their number.

    Raises:
        UserError: an arm has no such metric.
    """
    arms = {row["name"]: row for row in rows}
    ours, theirs = arms[claim.arm], arms[claim.baseline]
    for row in (ours, theirs):
        if claim.metric not in row["metrics"]:
            raise UserError(
                f"arm {row['name']} has no metric {claim.metric!r}: it has"
                f" {', '.join(row['metrics'])}"
            )
    common = [seed for seed in ours["seeds"] if seed in theirs["seeds"]]
    places = [[row["seeds"].index(seed) for seed in common] for row in (ours, theirs)]

    def values(kind: str, row: Row, place: list[int]) -> Any:
        found = row[kind].get(claim.metric)
        return None if found is None else [found[i] for i in place]

    found = stats.difference(
        values("metrics", ours, places[0]),
        values("metrics", theirs, places[1]),
        values("items", ours, places[0]),
        values("items", theirs, places[1]),
        groups.get(claim.metric),
    )
    return found, len(common)


def judge(
    rows: Sequence[Row], claims: Sequence[Claim], useful: float = 0.0, groups: Groups | None = None
) -> list[dict[str, Any]]:
    """Verdicts on all claims: the first by itself, the others corrected for their number.

    Only the first can be `about equal` or without `useful` gain, since what would be useful is
    stated for it alone. A claim without a common seed of both arms is left out.

    Args:
        rows: arms of a record.
        claims: the primary one first.
        useful: smallest difference that matters in the primary claim's metric.
        groups: of the items of each metric that has any.

    Raises:
        UserError: an arm has no such metric.
    """
    arms = {row["name"]: set(row["seeds"]) for row in rows}
    claims = [
        c for c in claims if {c.arm, c.baseline} <= set(arms) and arms[c.arm] & arms[c.baseline]
    ]
    found = [estimate(rows, claim, groups or {}) for claim in claims]
    p_values = [each.p for each, _ in found]
    adjusted = [*p_values[:1], *stats.holm(p_values[1:])]
    return [
        _judged(claim, each, num_seeds, p, 0.0 if i else useful)
        for i, (claim, (each, num_seeds), p) in enumerate(zip(claims, found, adjusted, strict=True))
    ]


def _judged(
    claim: Claim, found: stats.Estimate, num_seeds: int, p: float, useful: float
) -> dict[str, Any]:
    look = sequential.look_at(num_seeds)
    verdict = sequential.conclude(found, look, useful, claim.expect)
    if verdict in ("better", "worse") and look and p >= look.level:  # only Holm's p can be so large
        verdict = "undecided"
    near = sequential.equivalence(found, look) if look else None
    return {
        **claim._asdict(),
        "difference": interval_json(sequential.adjusted(found, look)),
        "equivalence": near and interval_json(near),
        "over": found.over,
        "seeds": num_seeds,
        "p": rounded(found.p),
        "p_adjusted": rounded(p),
        "verdict": verdict,
    }


def look(
    rows: Sequence[Row], claim: Claim, num_seeds: int, useful: float, groups: Groups
) -> dict[str, Any]:
    """What one look at so many seeds saw, and what it decided: a verdict, or None to go on."""
    at = sequential.look_at(num_seeds)
    assert at is not None
    found, _ = estimate(rows, claim, groups)
    return {
        "seeds": num_seeds,
        "difference": interval_json(sequential.adjusted(found, at)),
        "equivalence": interval_json(sequential.equivalence(found, at)),
        "decision": sequential.decide(found, at, useful, claim.expect),
    }


def open_gate(
    rows: Sequence[Row], gate: Gate, metric: str, direction: str, useful: float
) -> dict[str, Any] | None:
    """Whether the baseline has learnt something, and has something left to learn.

    Args:
        rows: the baseline, then the trivial arms, on the pilot seeds.
        gate: what must be beaten.
        metric: the trial's.
        direction: which way it is better.
        useful: by how much.

    Returns:
        None where the trial has no gate.
    """
    if not gate.trivial and gate.ceiling is None:
        return None
    sign = 1 if direction == "higher" else -1
    reached, *floor = [float(np.mean(row["metrics"][metric])) for row in rows]
    learnt = all(sign * (reached - value) > useful for value in floor)
    room = gate.ceiling is None or sign * (gate.ceiling - reached) >= useful
    trivial = {row["name"]: rounded(v) for row, v in zip(rows[1:], floor, strict=True)}
    return {
        "passed": learnt and room,
        "learnt": learnt,
        "room": room,
        "baseline": rounded(reached),
        "trivial": trivial,
        "ceiling": gate.ceiling,
    }


def check_premise(row: Row, premise: Premise) -> dict[str, Any]:
    """Whether what the method cures is there, on the baseline's pilot seeds.

    Args:
        row: of the baseline.
        premise: what must be there.

    Raises:
        UserError: the trial does not measure it.
    """
    if premise.metric not in row["metrics"]:
        raise UserError(f"the premise needs the metric {premise.metric!r}, which is not measured")
    value = float(np.mean(row["metrics"][premise.metric]))
    return {
        "passed": value >= premise.least,
        "metric": premise.metric,
        "value": rounded(value),
        "least": premise.least,
        "text": premise.text,
    }
