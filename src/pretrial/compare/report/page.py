"""A self-contained HTML page of text, tables, plots and programs: no network, light and dark.

    from pretrial.compare.report.page import Page, Tag
    from pretrial.compare.report.plots import Bars, Curve, Lines, Points, Stacked
    from pretrial.compare.stats import Interval

    page = Page("CodeRL on mini-APPS", lead="Does reinforcement from unit tests help?")
    page.heading("Result")
    page.text("pass@1 rose from **31 %** to **38 %**; run `pretrial trial coderl` to see it again.")
    page.table(
        ["arm", "pass@1", "verdict"],
        [
            ["CodeRL", Interval(0.38, 0.35, 0.41), Tag("shown", "good")],
            ["cross-entropy", Interval(0.31, 0.28, 0.34), ""],
        ],
        caption="Mean over 5 seeds with 95 % intervals.",
    )
    page.plot(
        Lines({"CodeRL": Curve([0, 50, 100], [0.31, 0.35, 0.38])}, "steps", "pass@1"),
        Points({"CodeRL minus cross-entropy": Interval(0.07, 0.03, 0.11)}, "difference in pass@1"),
        Stacked({"before": {"passed": 31, "failed": 69}, "after": {"passed": 38, "failed": 62}}),
    )
    page.code_side_by_side(before, after, titles=("before", "after"), caption="Problem 17")
    page.write(Path("coderl.html"))

Text may hold `code`, **strong** and [links](https://...); all else is escaped. Plots given in one
call stand side by side where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Literal, Protocol, Self

from pretrial.compare.report.markup import inline, side_by_side
from pretrial.compare.report.svg import number
from pretrial.compare.stats import Interval


class Plot(Protocol):
    """What `Page.plot` takes: anything that draws itself as SVG."""

    def svg(self) -> str:
        """The plot as SVG text."""


@dataclass(frozen=True)
class Tag:
    """A short word in a coloured pill: a verdict or an outcome."""

    text: str
    mood: Literal["good", "bad", "open", "plain"] = "plain"


Cell = str | int | float | Interval | Tag | None


@cache
def asset(name: str) -> str:
    """Text of a file in `report/assets`."""
    return (resources.files("pretrial.compare.report") / "assets" / name).read_text("utf-8")


class Page:
    """Collects parts and writes them as one HTML file; every method returns the page itself."""

    def __init__(self, title: str, lead: str = "") -> None:
        self.title = title
        self.lead = lead
        self._parts: list[str] = []
        self._styles = [asset("page.css"), asset("plot.css")]
        self._scripts: list[str] = []
        self._footer = ""

    def heading(self, text: str) -> Self:
        """A section heading."""
        return self.html(f"<h2>{inline(text)}</h2>")

    def text(self, *paragraphs: str) -> Self:
        """Paragraphs."""
        return self.html("".join(f"<p>{inline(p)}</p>" for p in paragraphs))

    def bullets(self, *items: str) -> Self:
        """A list."""
        return self.html(f"<ul>{''.join(f'<li>{inline(i)}</li>' for i in items)}</ul>")

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        caption: str = "",
        strong: Sequence[int] = (),
    ) -> Self:
        """A table; numbers and intervals stand right. `strong` lists the rows to stress."""
        if any(len(row) != len(header) for row in rows):
            raise ValueError("every row of a table needs one cell for each heading")
        numeric = [
            bool(rows) and all(isinstance(row[i], int | float | Interval | None) for row in rows)
            for i in range(len(header))
        ]
        head = "".join(
            f'<th scope="col"{_class(right)}>{inline(h)}</th>'
            for h, right in zip(header, numeric, strict=True)
        )
        body = "".join(
            ('<tr class="strong">' if i in strong else "<tr>")
            + "".join(f"<td{_class(r)}>{cell(c)}</td>" for c, r in zip(row, numeric, strict=True))
            + "</tr>"
            for i, row in enumerate(rows)
        )
        shown = f"<caption>{inline(caption)}</caption>" if caption else ""
        return self.html(
            f'<div class="scroll" tabindex="0"><table>{shown}<thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def plot(self, *plots: Plot, caption: str = "") -> Self:
        """Plots side by side, with one caption under the last."""
        last = len(plots) - 1
        figures = (
            f"<figure>{p.svg()}"
            + (f"<figcaption>{inline(caption)}</figcaption>" if caption and i == last else "")
            + "</figure>"
            for i, p in enumerate(plots)
        )
        return self.html(f'<div class="figures">{"".join(figures)}</div>')

    def code_side_by_side(
        self,
        left: str,
        right: str,
        titles: tuple[str, str] = ("before", "after"),
        tags: tuple[Tag | None, Tag | None] = (None, None),
        caption: str = "",
    ) -> Self:
        """Two programs, the lines in which they differ marked; `tags` can show their outcomes."""
        if caption:
            self.html(f'<p class="soft">{inline(caption)}</p>')
        boxes = (
            f"<div><header><span>{inline(title)}</span>{cell(tag)}</header>{program}</div>"
            for title, tag, program in zip(titles, tags, side_by_side(left, right), strict=True)
        )
        return self.html(f'<div class="programs">{"".join(boxes)}</div>')

    def details(self, summary: str, text: str) -> Self:
        """Preformatted text behind a line that opens on a click."""
        body = "".join(f"<span>{escape(line)}</span>" for line in text.splitlines())
        return self.html(
            f"<details><summary>{inline(summary)}</summary><pre>{body}</pre></details>"
        )

    def html(self, html: str) -> Self:
        """Trusted HTML, as it is."""
        self._parts.append(html)
        return self

    def style(self, css: str) -> Self:
        """More CSS."""
        self._styles.append(css)
        return self

    def script(self, code: str) -> Self:
        """JavaScript that runs at the end of the page."""
        self._scripts.append(code)
        return self

    def footer(self, text: str) -> Self:
        """A last line."""
        self._footer = f'<footer class="soft">{inline(text)}</footer>'
        return self

    def render(self) -> str:
        """The whole HTML."""
        lead = f'<p class="lead">{inline(self.lead)}</p>' if self.lead else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{''.join(self._styles)}</style></head>\n"
            f"<body><main><h1>{inline(self.title)}</h1>{lead}\n"
            + "\n".join(self._parts)
            + f"\n{self._footer}</main>"
            + "".join(f"<script>{code}</script>" for code in self._scripts)
            + "</body></html>\n"
        )

    def write(self, path: Path) -> Path:
        """Writes the page, makes its folder where needed, and returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.render(), encoding="utf-8")
        return path


def _class(right: bool) -> str:
    return ' class="number"' if right else ""


def cell(value: Cell) -> str:
    """HTML of one table cell."""
    if value is None:
        return ""
    if isinstance(value, Tag):
        return f'<span class="tag {value.mood}">{inline(value.text)}</span>'
    if isinstance(value, Interval):
        if math.isnan(value.low):
            return number(value.value)
        return (
            f"{number(value.value)}"
            f'<span class="range">{number(value.low)} to {number(value.high)}</span>'
        )
    if isinstance(value, int | float):
        return number(value)
    return inline(value)
