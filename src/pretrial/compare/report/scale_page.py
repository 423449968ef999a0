"""The page of a trial at several budgets: does the gap grow?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrial.compare import stats
from pretrial.compare.numbers import interval_of
from pretrial.compare.report.page import Cell, Page
from pretrial.compare.report.plots import Curve, Lines, Points
from pretrial.compare.report.svg import number, unit_name
from pretrial.compare.report.trial_page import tones, verdict_tag

Record = Mapping[str, Any]


def scale_page(records: Sequence[Record]) -> Page:
    """The page of one trial's records, from the smallest budget to the largest."""
    first = records[0]
    unit = unit_name(first["budget"]["unit"])
    title = f"{first['title']}: does the gap grow?"
    page = Page(title, lead=first["question"], headline=growth(records))
    rows: list[list[Cell]] = []
    gaps = {}
    for record in records:
        budget = f"{number(record['budget']['amount'])} {unit}"
        claim = record["claims"][0] if record["claims"] else None
        gap = interval_of(claim["difference"]) if claim else None
        rows.append([budget, gap, verdict_tag(record["verdict"])])
        if gap is not None:
            gaps[budget] = gap
    page.table(["budget", f"difference in {first['metric']}", "verdict"], rows)
    plots: list[Any] = []
    if gaps:
        label, band = f"difference in {first['metric']}", first["useful"]["value"]
        plots.append(Points(gaps, label, title="Gap", better=first["direction"], band=band))
    curves = _by_budget(records)
    if curves:
        plots.append(Lines(curves, unit, first["metric"], title="Arms"))
    if plots:
        page.plot(
            *plots, caption="Intervals over seeds; bands reach from the lowest to the highest."
        )
    return page


def growth(records: Sequence[Record]) -> str:
    """Whether the gap of the largest budget differs from that of the smallest, in a sentence."""
    gaps = [(r, _gaps(r)) for r in records if r["claims"]]
    if len(gaps) < 2:
        return "The gap could be measured at fewer than two budgets."
    (small, before), (large, after) = gaps[0], gaps[-1]
    common = sorted(set(before) & set(after))
    sign = 1 if large["direction"] == "higher" else -1
    found = stats.paired([sign * (after[s] - before[s]) for s in common]).interval()
    budgets = " and ".join(number(r["budget"]["amount"]) for r in (small, large))
    if found.low > 0:
        verb = "grows"
    elif found.high < 0:
        verb = "shrinks"
    else:
        verb = "neither grows nor shrinks beyond chance"
    return (
        f"Between {budgets} {unit_name(large['budget']['unit'])} the lead {verb}: it changes by"
        f" {number(found.value)} (95 % interval {number(found.low)} to {number(found.high)},"
        f" {len(common)} seeds)."
    )


def _gaps(record: Record) -> dict[int, float]:
    """The primary claim's difference by seed."""
    claim, arms = record["claims"][0], {arm["name"]: arm for arm in record["arms"]}
    pairs = [
        dict(zip(arms[name]["seeds"], arms[name]["metrics"][claim["metric"]], strict=True))
        for name in (claim["arm"], claim["baseline"])
    ]
    return {seed: pairs[0][seed] - pairs[1][seed] for seed in pairs[0] if seed in pairs[1]}


def _by_budget(records: Sequence[Record]) -> dict[str, Curve]:
    """The metric of each arm over the budget."""
    last = records[-1]
    tone = tones(last)
    found = {}
    for arm in last["arms"]:
        own = [(r, a) for r in records for a in r["arms"] if a["name"] == arm["name"]]
        x = [r["budget"]["amount"] for r, _ in own]
        y = [a["metrics"][r["metric"]] for r, a in own]
        if len(own) > 1 and arm["trains"]:
            means, lows, highs = (
                [float(f(values)) for values in y] for f in (np.mean, np.min, np.max)
            )
            found[arm["label"]] = Curve(x, means, lows, highs, tone=tone[arm["name"]])
    return found
