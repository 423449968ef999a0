"""The gallery: all methods in one table, with the outcome of their trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pretrial.compare import sequential
from pretrial.compare.ranking import cost_of, recommendation
from pretrial.compare.report import words
from pretrial.compare.report.markup import inline
from pretrial.compare.report.page import Page, asset
from pretrial.compare.report.plots import Points
from pretrial.compare.report.svg import MINUS, element, number, unit_name
from pretrial.compare.report.tables import cell
from pretrial.compare.report.trial_page import curve_plots, headline, verdict_tag
from pretrial.compare.stats import Interval
from pretrial.discover import Entry

Record = Mapping[str, Any]

_COLUMNS = (
    ("Method", ""),
    ("Family", "wide"),
    ("Abilities", "wide"),
    ("Year", "wide number"),
    ("Verdict", ""),
    ("Effect", "number"),
    ("Cost", "wide number"),
)
_MARKER = (
    '<svg class="marker" viewBox="0 0 10 10" aria-hidden="true"><path d="M3 1l4 4-4 4"/></svg>'
)
_VERDICTS = (*sequential.DECIDED, "undecided", "nothing learnt", "premise absent", "not tried")


def gallery(entries: Sequence[Entry], records: Sequence[Record]) -> Page:
    """The page over all methods.

    Args:
        entries: the methods.
        records: of trials and comparisons; those of methods not among `entries` are left out.
    """
    trials = {r["slug"]: r for r in records if r["kind"] == "trial"}
    tried = sum(entry.card.slug in trials for entry in entries)
    page = Page(
        "Methods on trial",
        headline=_headline([trials[e.card.slug] for e in entries if e.card.slug in trials]),
        lead=f"{len(entries)} published methods; {tried} put on trial against their baseline at an"
        " equal budget.",
    )
    page.style(asset("gallery.css")).script(asset("gallery.js"))
    page.html(_filters(entries))
    head = "".join(
        f'<th scope="col" class="{cls}"><button type="button">{label}</button></th>'
        for label, cls in _COLUMNS
    )
    rows = "".join(_row(entry, trials) for entry in entries)
    page.html(
        f'<table id="methods"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        '<p id="none" class="soft" hidden>No method fits. Press Escape to see all.</p>'
    )
    comparisons = [r for r in records if r["kind"] == "comparison"]
    if comparisons:
        page.heading("Side by side")
        page.table(
            ["methods", "recommendation"],
            [[f"[{r['title']}]({r['slug']}.html)", recommendation(r)] for r in comparisons],
        )
    page.footer(
        "Effects are differences to the baseline in the metric that is named, with intervals"
        " adjusted for the looks; green ones are on the better side, red ones on the worse. Keys:"
        " / to search, Escape to clear, Enter to open a method."
    )
    return page


def _headline(tried: Sequence[Record]) -> str:
    """How many trials came out how."""
    verdicts = [record["verdict"] for record in tried]
    counts = [f"{n} {verdict}" for verdict in _VERDICTS if (n := verdicts.count(verdict))]
    return f"Of {len(tried)} methods on trial: {', '.join(counts)}." if tried else ""


def _filters(entries: Sequence[Entry]) -> str:
    families = sorted({entry.family for entry in entries})
    abilities = sorted({a for entry in entries for a in entry.card.abilities})
    choices = (("family", families), ("ability", abilities), ("verdict", _VERDICTS))
    selects = "".join(
        f'<label>{key}<select id="{key}"><option value="">all</option>'
        + "".join(f"<option>{escape(v)}</option>" for v in values)
        + "</select></label>"
        for key, values in choices
    )
    return (
        '<form id="filters" role="search"><label class="search">search'
        '<input id="search" type="search" autocomplete="off"></label>'
        f'{selects}<output id="count" aria-live="polite"></output></form>'
    )


def _row(entry: Entry, trials: Mapping[str, Record]) -> str:
    """A method's row, and its hidden detail; further trials of it are in the detail alone."""
    card = entry.card
    record = trials.get(card.slug)
    further = [
        r
        for slug, r in trials.items()
        if slug != card.slug and r["setting"]["slugs"] == [card.slug]
    ]
    found = headline(record) if record else None
    verdict = record["verdict"] if record else None
    strength, effect = _effect(*found) if found else (-math.inf, "")
    cost, shown_cost = _cost(record)
    searched = " ".join([card.slug, card.title, card.authors, card.summary, *card.abilities])
    keys = {
        "slug": card.slug,
        "search": searched.lower(),
        "family": entry.family,
        "ability": "|".join(card.abilities),
        "verdict": verdict or "not tried",
    }
    data = "".join(f' data-{key}="{escape(value)}"' for key, value in keys.items())
    cells = (
        (card.slug, f'<button type="button" aria-expanded="false">{_MARKER}{escape(card.slug)}'
         f'</button><span class="soft">{escape(card.summary)}</span>'),
        (entry.family, escape(entry.family)),
        (card.abilities[0] if card.abilities else "", escape(", ".join(card.abilities))),
        (card.year, str(card.year)),
        (_VERDICTS.index(verdict or "not tried"), cell(verdict_tag(verdict))),
        (f"{strength:.6g}", effect),
        (f"{cost:.6g}", shown_cost),
    )  # fmt: skip
    drawn = "".join(
        f'<td class="{cls}" data-value="{escape(str(value))}">{html}</td>'
        for (_, cls), (value, html) in zip(_COLUMNS, cells, strict=True)
    )
    detail = _detail(entry, record) + _further(further)
    return f"<tr{data}>{drawn}</tr><template>{detail}</template>"


def _effect(claim: Record, interval: Interval) -> tuple[float, str]:
    """How many half-widths of its interval the effect is to the good, and a small drawing of it.

    The drawing has the metric's own direction; its colour says whether that is the good one.
    """
    sign = 1 if claim["expect"] == "higher" else -1
    value = number(interval.value)
    signed = value if value.startswith(MINUS) or interval.value == 0 else f"+{value}"
    shown = f'<span class="effect">{signed}</span>'
    named = (
        f'<span class="soft metric">{escape(claim["metric"])}, {claim["expect"]} is better</span>'
    )
    if math.isnan(interval.low):
        return -math.inf, shown + named
    span = max(abs(interval.low), abs(interval.high)) or 1.0

    def x(v: float) -> float:
        return 45 + 40 * v / span

    drawn = element("line", x1=45, y1=2, x2=45, y2=16, cls="zero")
    drawn += element("line", x1=x(interval.low), y1=9, x2=x(interval.high), y2=9, cls="whisker")
    drawn += element("circle", cx=x(interval.value), cy=9, r=4, cls="mark")
    low, high = sorted((sign * interval.low, sign * interval.high))
    half = (high - low) / 2
    title = f"difference in {claim['metric']} {interval}, {claim['expect']} is better"
    return sign * interval.value / half if half else math.inf, (
        f'<svg class="plot mini {_tone(low, high)}" viewBox="0 0 90 18" role="img"'
        f' aria-label="{escape(title)}"><title>{escape(title)}</title>{drawn}</svg>{shown}{named}'
    )


def _tone(low: float, high: float) -> str:
    return "good" if low > 0 else "bad" if high < 0 else "open"


def _cost(record: Record | None) -> tuple[float, str]:
    """Seconds of all runs of the trial together, which a reader would have to pay again."""
    if record is None:
        return math.inf, ""
    seconds = sum(sum(arm["seconds"]) for arm in record["arms"])
    return seconds, f"{number(round(seconds / 60, 1))} min"


def _further(records: Sequence[Record]) -> str:
    """The questions of further trials, each a link to its page, with their verdicts."""
    items = "".join(
        f'<li>{cell(verdict_tag(r["verdict"]))} <a href="{escape(r["slug"])}.html">'
        f"{inline(r['question'])}</a></li>"
        for r in records
    )
    return f"<p>Further trials:</p><ul>{items}</ul>" if items else ""


def _detail(entry: Entry, record: Record | None) -> str:
    """What opens under a row: the answer, an effect plot, a curve, and the way to the page."""
    card = entry.card
    source = f"{escape(card.authors)}, {card.year}"
    if card.arxiv:
        source += f', <a href="https://arxiv.org/abs/{card.arxiv}">arXiv {card.arxiv}</a>'
    parts = [f"<p><strong>{inline(card.title)}</strong> <span class=soft>{source}</span></p>"]
    if record is None:
        parts += [f"<p>Published: {inline(claim.text)}</p>" for claim in card.claims[:2]]
        parts.append(f"<p class=soft>Not tried yet: <code>pretrial trial {card.slug}</code></p>")
        return "".join(parts)
    labels = {arm["name"]: arm["label"] for arm in record["arms"]}
    parts.append(f"<p>{inline(record['question'])}</p>")
    told = [words.headline(record), *words.beneath(record)]
    parts += [f"<p>{inline(sentence)}</p>" for sentence in told]
    parts.append("<ul>")
    for claim in record["claims"]:
        sentence = inline(words.claim_sentence(claim, labels))
        parts.append(f"<li>{cell(verdict_tag(claim['verdict']))} {sentence}</li>")
    plots: list[Any] = curve_plots(record, most=1)
    found = headline(record)
    if found:
        own = [c for c in record["claims"] if c["metric"] == found[0]["metric"]]
        rows = {
            f"{labels[c['arm']]} {MINUS} {labels[c['baseline']]}": Interval(
                *(math.nan if v is None else v for v in c["difference"].values())
            )
            for c in own
        }
        label = f"difference in {found[0]['metric']}"
        plots.append(Points(rows, label, title="Effect", better=found[0]["expect"]))
    drawn = "".join(f"<figure>{plot.svg()}</figure>" for plot in plots)
    seeds = max(len(arm["seeds"]) for arm in record["arms"])
    each = f"{number(record['budget']['amount'])} {unit_name(record['budget']['unit'])}"
    amount, unit = cost_of(record["arms"][0], record["budget"]["unit"])
    parts.append(
        f'</ul><div class="figures">{drawn}</div>'
        f"<p class=soft>{each} an arm, {seeds} seeds, {number(amount)} {unit_name(unit)} a run."
        f' <a href="{escape(record["slug"])}.html">The whole trial</a></p>'
    )
    return "".join(parts)
