"""The page of an advice: what to take, the learning curves beside the floor, what was tried."""

from __future__ import annotations

from pretrial.api.advising.course import Course
from pretrial.api.advising.weighing import Series
from pretrial.compare.report.page import Cell, Page, Tag
from pretrial.compare.report.plots import Curve, Lines, Points
from pretrial.compare.stats import Interval
from pretrial.environment import environment


def advice_page(course: Course) -> Page:
    """The page; `Page.write` gives its HTML."""
    looked, advice, found = course.looked, course.advice(), course.series()
    page = Page(
        f"Advice on {looked.source}",
        lead=f"Does training help on these data, in {course.question.minutes:g} minutes?",
        headline=advice.headline,
    )
    page.text(*advice.further, *(f"To make it: `{command}`" for command in course.commands()))
    metric = "accuracy" if looked.labelled else "bits per byte"
    if len(course.sizes) > 1:
        caption = "Bands are 95 % intervals over the test rows; what needs no network is dashed."
        shown = {each.label: _curve(each) for each in found if not _below_others(each, found)}
        lines = Lines(shown, "labels", metric, log_x=True)
        page.heading("Learning curves").plot(lines, caption=caption)
    else:
        size = course.sizes[0]
        rows = {each.label: _interval(each, size) for each in found if size in each.items}
        better = "higher" if looked.labelled else "lower"
        page.heading("Result").plot(
            Points(rows, f"{metric} ({better} is better)", zero=False),
            caption="Intervals over the test texts, 95 %.",
        )
    _table(page, course, found, metric)
    page.heading("What was tried, and why").table(
        ["", "why", "what came of it"],
        [[one.label, one.why, _came(course, one.name)] for one in course.tries],
    )
    page.heading("The data").bullets(*looked.facts, *(f"**{text}**" for text in looked.warnings))
    page.text(
        f"Every try had {course.seconds:.0f} seconds on one core, its start included. What"
        " pre-trains learns without labels for two fifths of that. Folder:"
        f" `{course.folder}`."
    )
    machine = environment()
    page.footer(f"{machine.get('processor', '')}, {machine.get('cores', '')} cores")
    return page


def _table(page: Page, course: Course, found: list[Series], metric: str) -> None:
    sizes = sorted(course.sizes)
    take = course.advice().take
    what = "labels" if course.looked.labelled else "texts"
    rows: list[list[Cell]] = []
    for each in found:
        cells: list[Cell] = [each.label]
        cells += [_interval(each, size) if size in each.items else None for size in sizes]
        tested = max((len(items) for items in each.items.values()), default=0)
        notes = each.notes.get(sizes[-1], "")
        advised: Cell = Tag("take this", "good") if each.label == take else ""
        rows.append([*cells, str(tested), notes, advised])
    header = ["", *(f"{metric}, {size} {what}" for size in sizes), "tested on", "training", ""]
    page.table(header, rows, caption="Means with 95 % intervals over the test rows.")


def _below_others(series: Series, found: list[Series]) -> bool:
    """Whether something else without a network is better everywhere: it would but take room."""
    return series.floor and any(
        other.floor
        and all(size in other.items and other.at(size).value > series.at(size).value
                for size in series.items)
        for other in found
        if other is not series
    )  # fmt: skip


def _curve(series: Series) -> Curve:
    sizes = sorted(series.items)
    ends = [series.at(size) for size in sizes]
    return Curve(
        [float(size) for size in sizes],
        [end.value for end in ends],
        [end.low for end in ends],
        [end.high for end in ends],
        dashed=series.floor,
    )


def _interval(series: Series, size: int) -> Interval:
    found = series.at(size)
    return Interval(found.value, found.low, found.high)


def _came(course: Course, name: str) -> str:
    """What became of a try, in words."""
    if name in course.failed:
        return f"nothing: {course.failed[name]}"
    result = course.results.get(name, {})
    told = [*result.get("notes", []), f"{result.get('seconds', 0):.0f} s"]
    if not result.get("done"):
        told.append("the time was over before its end")
    return ", ".join(told)
