"""The page of one trial, from its record alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrial.compare import stats
from pretrial.compare.numbers import interval_of
from pretrial.compare.ranking import rank
from pretrial.compare.report import words
from pretrial.compare.report.page import Cell, Page, Tag
from pretrial.compare.report.plots import Curve, Lines, Points, sharing_axes
from pretrial.compare.report.scatter import Dot, Scatter
from pretrial.compare.report.svg import number, unit_name
from pretrial.compare.stats import Interval

Record = Mapping[str, Any]

_MOODS: dict[str, Any] = {
    "better": "good",
    "worse": "bad",
    "about equal": "plain",
    "no useful gain": "plain",
    "undecided": "open",
    "nothing learnt": "open",
    "premise absent": "open",
}
_MOST_CURVES = 6
_OVER = {
    "seeds": "seeds",
    "seeds and items": "seeds and items",
    "items": "the items of one seed",
    "nothing": "–",  # noqa: RUF001 (a dash for a reader)
}


def verdict_tag(verdict: str | None) -> Tag:
    """The coloured pill of a verdict."""
    return Tag(verdict or "not tried", _MOODS.get(verdict or "", "plain"))


def trial_page(record: Record) -> Page:
    """The page of a record; `Page.write` or `Page.render` gives its HTML."""
    page = Page(record["title"], lead=record["question"], headline=words.headline(record))
    _answer(page, record)
    _looks(page, record)
    _effects(page, record)
    _arms(page, record)
    _curves(page, record)
    _spending(page, record)
    _conditions(page, record)
    return page


def tones(record: Record) -> dict[str, int]:
    """A colour for each arm, the same in all plots: the first method 0, the baseline 1."""
    chosen: dict[str, int] = {}
    others = iter(range(2, 2 + len(record["arms"])))
    first = next((a["name"] for a in record["arms"] if a["role"] == "method"), "")
    for arm in record["arms"]:
        fixed = {first: 0, record["baseline"]: 1}
        chosen[arm["name"]] = fixed[arm["name"]] if arm["name"] in fixed else next(others) % 8
    return chosen


def _labels(record: Record) -> dict[str, str]:
    return {arm["name"]: arm["label"] for arm in record["arms"]}


def _answer(page: Page, record: Record) -> None:
    """The claims, and what to do next where the verdict leaves that open."""
    labels, useful = _labels(record), record["useful"]["value"]
    rows: list[list[Cell]] = [
        [verdict_tag(c["verdict"]), words.claim_sentence(c, labels, 0.0 if i else useful)]
        for i, c in enumerate(record["claims"])
    ]
    page.text(*words.beneath(record))
    if rows:
        page.table(["verdict", "claim"], rows, caption=_caption(rows))


def _caption(rows: Sequence[object]) -> str:
    return (
        "The first claim is the question of the trial; the others are corrected for their number."
        if len(rows) > 1
        else ""
    )


def _looks(page: Page, record: Record) -> None:
    """What was asked before the seeds counted, and what each look saw."""
    rows: list[list[Cell]] = []
    gate, premise, labels = record["gate"], record["premise"], _labels(record)
    if gate is not None:
        rows.append([f"{labels[record['baseline']]}, two pilot seeds", gate["baseline"], ""])
        rows += [[f"to be beaten: {labels[n]}", v, ""] for n, v in gate["trivial"].items()]
        if gate["ceiling"] is not None:
            rows.append(["the best there is", gate["ceiling"], ""])
    if premise is not None:
        rows.append(
            [f"premise: {premise['text']}", premise["value"], f"at least {premise['least']}"]
        )
    looks = {
        f"look at {look['seeds']} seeds: {look['decision'] or 'go on'}": interval_of(
            look["difference"]
        )
        for look in record["looks"]
        if "difference" in look
    }
    if not rows and not looks:
        return
    useful = record["useful"]
    share = f", {useful['share']:.2%} of the baseline" if useful["share"] else ""
    page.heading("How it was decided").text(
        f"The smallest difference that matters was stated before: {number(useful['value'])} of"
        f" {record['metric']}{share}."
    )
    if rows:
        page.table(["", record["metric"], ""], rows)
    if looks:
        label, better = f"difference in {record['metric']}", record["direction"]
        caption = (
            "Intervals are adjusted for the looks; the grey band is what is too small to matter,"
            " the green side the better one."
        )
        plot = Points(looks, label, title="Looks", better=better, band=useful["value"])
        page.plot(plot, caption=caption)
    tuning = record["tuning"]
    if tuning is not None:
        chosen = ", ".join(f"{labels.get(n, n)} {number(v)}" for n, v in tuning["chosen"].items())
        values = ", ".join(number(v) for v in tuning["values"])
        page.text(f"Each arm chose {tuning['field']} among {values} on a pilot seed: {chosen}.")


def _effects(page: Page, record: Record) -> None:
    """Differences by metric, and the arms themselves."""
    labels, tone = _labels(record), tones(record)
    plots: list[Any] = []
    for metric in dict.fromkeys(c["metric"] for c in record["claims"]):
        own = [c for c in record["claims"] if c["metric"] == metric]
        named = {f"{labels[c['arm']]} \u2212 {labels[c['baseline']]}": c for c in own}
        plots.append(
            Points(
                {name: interval_of(c["difference"]) for name, c in named.items()},
                f"difference in {metric}",
                title="Effect",
                better=own[0]["expect"],
                word="better" if metric == record["metric"] else "expected",
                tones={name: tone[c["arm"]] for name, c in named.items()},
            )
        )
    metric = record["metric"]
    values = {arm["label"]: arm["metrics"][metric] for arm in record["arms"]}
    plots.append(
        Points(
            {label: stats.mean_interval(v) for label, v in values.items()},
            metric,
            title="Arms",
            better=record["direction"],
            zero=False,
            tones={arm["label"]: tone[arm["name"]] for arm in record["arms"]},
            seeds=values,
        )
    )
    caption = (
        "Bars of effects are intervals adjusted for the looks, the green side is the better one;"
        " small dots are single seeds"
    )
    if any(arm["trains"] for arm in record["arms"]):  # else there is no cost
        plots.append(cost_plot(record))
        caption += "; the dotted line joins the arms that no other arm beats at a lower cost"
    page.heading("Result").plot(*plots, caption=f"{caption}.")


def cost_plot(record: Record) -> Scatter:
    """Cost against quality."""
    tone, ranked = tones(record), rank(record)
    unit = ranked[0].unit
    return Scatter(
        {r.label: Dot(r.cost, r.mean, r.front, tone[r.name]) for r in ranked},
        f"cost of a run in {'seconds of training' if unit == 'seconds' else unit_name(unit)}",
        record["metric"],
        title="Cost and quality",
    )


def _arms(page: Page, record: Record) -> None:
    measured = (metric for arm in record["arms"] for metric in arm["metrics"])
    metrics = list(dict.fromkeys([record["metric"], *measured]))
    rows: list[list[Cell]] = []
    for arm in record["arms"]:
        cells: list[Cell] = [arm["label"], arm["role"]]
        for metric in metrics:
            values = arm["metrics"].get(metric)
            cells.append(stats.mean_interval(values) if values else None)
        rows.append([*cells, len(arm["seeds"]), arm["parameters"], float(np.mean(arm["seconds"]))])
    header = ["arm", "role", *metrics, "seeds", "parameters", "seconds a run"]
    strong = [i for i, arm in enumerate(record["arms"]) if arm["role"] == "method"]
    page.table(header, rows, caption="Means over seeds, 95 % intervals.", strong=strong)
    if not record["claims"]:
        return
    labels = _labels(record)
    checked: list[list[Cell]] = [
        [
            f"{labels[c['arm']]} against {labels[c['baseline']]}",
            c["metric"],
            interval_of(c["difference"]),
            _p(c["p"]),
            _p(c["p_adjusted"]),
            _OVER[c["over"]],
            c["seeds"],
        ]
        for c in record["claims"]
    ]
    page.table(
        ["claim", "metric", "difference", "p", "p, corrected", "interval over", "seeds"],
        checked,
        caption="Differences are paired by seed (and by item), their intervals adjusted for the"
        " looks; p of all claims but the first is corrected for their number by Holm's method.",
    )


def _p(value: float) -> str:
    """A p-value with three decimals, as they are usually given."""
    return "<\u00a00.001" if value < 0.001 else f"{value:.3f}"


def curve_plots(record: Record, most: int = _MOST_CURVES) -> list[Lines]:
    """Learning curves: means over seeds, bands from the lowest to the highest seed."""
    tone = tones(record)
    names = dict.fromkeys(name for arm in record["arms"] for name in arm["curves"])
    first = sorted(names, key=lambda name: ("eval/" not in name, list(names).index(name)))
    unit = record["budget"]["unit"]
    plots = []
    for name in first[:most]:
        curves = {}
        for arm in record["arms"]:
            if name not in arm["curves"]:
                continue
            x, y = arm["curves"][name]["x"], np.asarray(arm["curves"][name]["y"])
            curves[arm["label"]] = Curve(
                x,
                y.mean(axis=0).tolist(),
                y.min(axis=0).tolist(),
                y.max(axis=0).tolist(),
                tone=tone[arm["name"]],
                dashed=arm["role"] == "control",
            )
        x_label = "steps" if unit == "seconds" else unit_name(unit)
        plots += [Lines(group, x_label, title=name) for group in sharing_axes(curves)]
    return plots


def _curves(page: Page, record: Record) -> None:
    plots = curve_plots(record)
    if plots:
        page.heading("Training").plot(
            *plots, caption="Means over seeds; bands reach from the lowest to the highest seed."
        )


def _spending(page: Page, record: Record) -> None:
    budget = record["budget"]
    unit = unit_name(budget["unit"])
    counted = ", ".join(budget["counted"]) or "everything"
    page.heading("Budget").text(
        f"Each arm had {number(budget['amount'])} {unit} a seed. Counted: {counted}. The largest"
        f" difference between arms was {budget['largest_difference_ratio']:.2%}."
    )
    rows: list[list[Cell]] = []
    spent = [(arm["label"], arm["spent"]) for arm in record["arms"]]
    if record["shared"]:
        spent.append(("shared by all arms", record["shared"]))
    units = list(dict.fromkeys(u for _, by in spent for row in by.values() for u in row))
    for label, by_purpose in spent:
        for purpose, amounts in by_purpose.items():
            rows.append([label, purpose, *(amounts.get(u) for u in units)])
    if rows:
        page.table(["arm", "purpose", *map(unit_name, units)], rows, caption="Mean of a seed.")


def _conditions(page: Page, record: Record) -> None:
    page.heading("How it was done")
    if record["notes"]:
        page.bullets(*record["notes"])
    data = record["data"]
    page.text(
        f"Data: {data['name'] or 'the data named in the command'}, {data['num_train']} training"
        f" examples. Run it again with `{record['command'] or 'pretrial trial --again RECORD'}`."
    )
    for arm in record["arms"]:
        if arm["config"] is not None:
            page.details(f"Configuration of {arm['label']}", json.dumps(arm["config"], indent=2))
    machine = record["environment"]
    versions = ", ".join(
        f"{name} {value}"
        for name, value in machine.items()
        if name not in ("system", "processor", "cores")
    )
    commits = ", ".join(record["commits"]) or "not known"
    commits += " (provisional: files differed from the commit)" if record["provisional"] else ""
    page.footer(
        f"{versions} · commit {commits} · {machine.get('processor', '')},"
        f" {machine.get('cores', '')} cores · {record['wall_seconds'] / 60:.1f} minutes"
    )


def headline(record: Record) -> tuple[Record, Interval] | None:
    """The first claim and its difference; None where a record has no claim."""
    if not record["claims"]:
        return None
    claim = record["claims"][0]
    return claim, interval_of(claim["difference"])
