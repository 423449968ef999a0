"""A self-contained HTML page of text, tables, plots and programs: no network, light and dark.

    from pretrial.compare.report.page import Page, Tag
    from pretrial.compare.report.plots import Bars, Curve, Lines, Points, Stacked
    from pretrial.compare.stats import Interval

    page = Page(
        "CodeRL on mini-APPS",
        headline="pass@1 rose from 31 to 38 %",
        lead="Does reinforcement from unit tests help?",
    )
    page.heading("Result").text("Run `pretrial trial coderl` to see it again.")
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
        Points(
            {"CodeRL minus cross-entropy": Interval(0.07, 0.03, 0.11)},
            "difference in pass@1",
            better="higher",
        ),
        Stacked({"before": {"passed": 31, "failed": 69}, "after": {"passed": 38, "failed": 62}}),
    )
    page.code_side_by_side(before, after, titles=("before", "after"), caption="Problem 17")
    page.write(Path("coderl.html"))

Text may hold `code`, **strong** and [links](https://...); all else is escaped. Plots given in one
call stand side by side where there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Protocol, Self

from pretrial.compare.report import tables
from pretrial.compare.report.markup import inline, side_by_side
from pretrial.compare.report.tables import Cell, Tag, cell
from pretrial.files import write_whole

__all__ = ["Cell", "Page", "Plot", "Tag", "asset"]


class Plot(Protocol):
    """What `Page.plot` takes: anything that draws itself as SVG."""

    def svg(self) -> str:
        """The plot as SVG text."""


@cache
def asset(name: str) -> str:
    """Text of a file in `report/assets`."""
    return (resources.files("pretrial.compare.report") / "assets" / name).read_text("utf-8")


class Page:
    """Collects parts and writes them as one HTML file; every method returns the page itself."""

    def __init__(self, title: str, lead: str = "", headline: str = "") -> None:
        """Begins a page.

        Args:
            title: of what; where there is a headline, it stands small above it.
            lead: under the headline, such as what was asked.
            headline: what was found, in one sentence.
        """
        self.title = title
        self.lead = lead
        self.headline = headline
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
        """A table; see `tables.table`."""
        return self.html(tables.table(header, rows, caption, strong))

    def plot(self, *plots: Plot, caption: str = "") -> Self:
        """Plots side by side, with one caption under them."""
        figures = "".join(f"<figure>{plot.svg()}</figure>" for plot in plots)
        shown = f'<p class="under">{inline(caption)}</p>' if caption else ""
        return self.html(f'<div class="figures">{figures}</div>{shown}')

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

    def live(self, every: float, written: float) -> Self:
        """Makes the page load itself anew, for one that is written again and again.

        Args:
            every: seconds between two loadings.
            written: when, in seconds since 1970; the page says so, and where that is long ago.
        """
        self.html(
            f'<p class="live" data-every="{every:g}" data-written="{written:.0f}">'
            "This page is updated while the work goes on.</p>"
        )
        return self.script(asset("live.js"))

    def footer(self, text: str) -> Self:
        """A last line."""
        self._footer = f'<footer class="soft">{inline(text)}</footer>'
        return self

    def render(self) -> str:
        """The whole HTML."""
        lead = f'<p class="lead">{inline(self.lead)}</p>' if self.lead else ""
        above = f'<p class="kicker">{inline(self.title)}</p>' if self.headline else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{''.join(self._styles)}</style></head>\n"
            f"<body><main>{above}<h1>{inline(self.headline or self.title)}</h1>{lead}\n"
            + "\n".join(self._parts)
            + f"\n{self._footer}</main>"
            + "".join(f"<script>{code}</script>" for code in self._scripts)
            + "</body></html>\n"
        )

    def write(self, path: Path) -> Path:
        """Writes the page, whole or not at all, into a folder that is made; returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.render())
        return path
