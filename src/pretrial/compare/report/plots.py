"""Plots as inline SVG: curves with bands, points with intervals, bars, stacked bars.

Each plot is a dataclass with `svg()`; `report.scatter` and `report.grid` have more. Colours are
tones 0-7 of the style sheet, so that a plot follows light and dark mode; by default the first thing
drawn has tone 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from pretrial.compare.report import svg
from pretrial.compare.report.axes import (
    RIGHT,
    TONES,
    as_interval,
    axes,
    centred,
    head,
    hover,
    left_of,
    x_ticks,
    y_axis,
)
from pretrial.compare.report.svg import Scale, element, extent, fitted, line, number, path, text
from pretrial.compare.stats import Interval

_BESIDE = 120.0  # longer labels stand above what they name
_LINE = 15.0  # height of a line of text


@dataclass(frozen=True)
class Curve:
    """One curve, with an optional band (such as an interval over seeds).

    Attributes:
        x, y: the points; same length.
        low, high: the band's edges, or empty.
        tone: colour 0-7, or None for the next one.
        dashed: for controls and references.
    """

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    tone: int | None = None
    dashed: bool = False


def sharing_axes(curves: Mapping[str, Curve], most_ratio: float = 4.0) -> list[dict[str, Curve]]:
    """Curves in groups that can share an axis; one that dwarfs another does not.

    Args:
        curves: by name.
        most_ratio: of the sizes in a group, a size being the median of the absolute values.
    """

    def size(name: str) -> float:
        return median(map(abs, curves[name].y)) if len(curves[name].y) else 0.0

    groups: list[dict[str, Curve]] = []
    smallest = 0.0
    for name in sorted(curves, key=size):
        if not groups or (smallest and size(name) > most_ratio * smallest):
            groups.append({})
            smallest = 0.0
        smallest = smallest or size(name)
        groups[-1][name] = curves[name]
    order = list(curves)
    groups = [{name: group[name] for name in order if name in group} for group in groups]
    return sorted(groups, key=lambda group: order.index(next(iter(group))))


@dataclass(frozen=True)
class Lines:
    """Curves over a common x axis, such as a loss over steps; a single point is a dot."""

    curves: Mapping[str, Curve]
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    log_x: bool = False
    height: int = 240

    def svg(self) -> str:
        """The plot as SVG text."""
        tones = [(c.tone if c.tone is not None else i) % TONES for i, c in enumerate(self._all())]
        named = [(name, f"t{tone}") for name, tone in zip(self.curves, tones, strict=True)]
        parts, top = head(self.title, named)
        height = self.height + max(0.0, top - 70)  # a legend of many rows leaves the curves room
        xs = [v for c in self._all() for v in c.x if not self.log_x or v > 0]
        low, high = extent(xs, pad=0)
        y_low, y_high = extent(v for c in self._all() for v in (*c.y, *c.low, *c.high))
        y = Scale(y_low, y_high, height - 40.0, top + (26 if self.y_label else 10))
        x = Scale(low, high, left_of(y), RIGHT, log=self.log_x)
        whole = all(value == round(value) for value in xs)
        parts += axes(x, y, self.x_label, self.y_label, whole)
        for (name, _), curve, tone in zip(named, self._all(), tones, strict=True):
            parts.append(self._curve(name, curve, tone, x, y))
        return svg.drawing(parts, height, self.title or self.y_label)

    def _all(self) -> list[Curve]:
        return list(self.curves.values())

    def _curve(self, name: str, curve: Curve, tone: int, x: Scale, y: Scale) -> str:
        drawn = ""
        if len(curve.low):
            upper = [(x(a), y(b)) for a, b in zip(curve.x, curve.high, strict=True)]
            lower = [(x(a), y(b)) for a, b in zip(curve.x, curve.low, strict=True)]
            drawn += path(upper + lower[::-1], "band", close=True)
        points = [(x(a), y(b)) for a, b in zip(curve.x, curve.y, strict=True)]
        drawn += path(points, "curve dashed" if curve.dashed else "curve")
        if len(points) == 1:
            drawn += element("circle", cx=points[0][0], cy=points[0][1], r=4.0, cls="mark")
        end = f"{number(curve.y[-1])} at {number(curve.x[-1])}"
        return hover(f"{name}: {end}" if name else end, drawn, f"t{tone}")


@dataclass(frozen=True)
class Points:
    """One point with its interval a row (a forest plot).

    Attributes:
        rows: label to value, usually an `Interval`.
        zero: draw a line at 0 and keep it in sight.
        better: which side is the better one, where it is to be marked.
        word: what the marked side is called, such as "expected".
        tones: label to colour 0-7; the others have tone 0.
        seeds: label to the values of single seeds, drawn as small dots.
        band: half the width of a shaded band around 0, such as what is too small to matter.
    """

    rows: Mapping[str, float | Interval]
    x_label: str = ""
    title: str = ""
    zero: bool = True
    better: Literal["higher", "lower", ""] = ""
    word: str = "better"
    tones: Mapping[str, int] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    band: float = 0.0

    def svg(self) -> str:
        """The plot as SVG text."""
        parts, top = head(self.title, [])
        shown = {label: as_interval(v) for label, v in self.rows.items()}
        longest = max((svg.text_width(label) for label in shown), default=0)
        above = longest > _BESIDE
        names = {label: fitted(label, svg.WIDTH, 2) if above else [label] for label in shown}
        left = 8.0 if above else 14 + longest
        x = Scale(*self._extent(shown), left, RIGHT)
        bottom = top + 6
        rows, places = [], []
        for label, lines in names.items():
            bottom += (_LINE * len(lines) + 16 if above else 30) + 6 * bool(self.seeds)
            places.append((label, lines, bottom - 14))
        bottom += 4
        parts += self._ground(x, top, bottom)
        for label, lines, y in places:
            first = y - 12 - _LINE * (len(lines) - 1) if above else y + 4
            for i, words in enumerate(lines):
                rows.append(text(0, first + i * _LINE, words, cls="ink"))
            rows.append(self._row(label, shown[label], x, y))
        parts += [*rows, *self._names(x, bottom)]
        height = bottom + 24 + _LINE * (bool(self.x_label) + bool(self.better))
        return svg.drawing(parts, height, self.title or self.x_label)

    def _extent(self, shown: Mapping[str, Interval]) -> tuple[float, float]:
        ends = [e for v in shown.values() for e in (v.low, v.value, v.high)]
        ends += [value for values in self.seeds.values() for value in values]
        return extent([*ends, -self.band, self.band] if self.band else ends, 0.08, self.zero)

    def _ground(self, x: Scale, top: float, bottom: float) -> list[str]:
        """What lies under the points: the better side, the grid, the band and the line at 0."""
        parts = []

        def box(low: float, high: float, cls: str) -> None:
            corners = [(low, top), (high, top), (high, bottom), (low, bottom)]
            parts.append(path(corners, cls, close=True))

        if self.better and self.zero:
            low, high = (x(0), RIGHT) if self.better == "higher" else (x.start, x(0))
            box(low, high, "better")
        for value, label, middle in x_ticks(x):
            parts.append(line(x(value), top, x(value), bottom, "grid"))
            parts.append(text(middle, bottom + 16, label, "middle"))
        if self.band:
            box(x(-self.band), x(self.band), "band")
        if self.zero:
            parts.append(line(x(0), top, x(0), bottom, "zero"))
        return parts

    def _names(self, x: Scale, bottom: float) -> list[str]:
        """The name of the axis, and an arrow to where it is better."""
        parts = centred(self.x_label, (x.start + RIGHT) / 2, bottom + 33)
        y = bottom + 33 + _LINE * bool(self.x_label)
        if self.better == "higher":
            parts.append(text(RIGHT, y, f"higher is {self.word} \u2192", "end", "good"))
        elif self.better:
            parts.append(text(x.start, y, f"\u2190 lower is {self.word}", cls="good"))
        return parts

    def _row(self, label: str, v: Interval, x: Scale, y: float) -> str:
        drawn = "".join(
            element("circle", cx=x(value), cy=y + 9, r=2.5, cls="seed")
            for value in self.seeds.get(label, ())
        )
        drawn += "" if math.isnan(v.low) else line(x(v.low), y, x(v.high), y, "whisker")
        drawn += element("circle", cx=x(v.value), cy=y, r=5, cls="mark")
        return hover(f"{label}: {v}", drawn, f"t{self.tones.get(label, 0) % TONES}")


@dataclass(frozen=True)
class Bars:
    """Vertical bars: one group a category, one bar a series, with intervals where given.

    Attributes:
        categories: labels under the groups.
        series: name to one value (or `Interval`) a category.
        tones: series name to colour 0-7, for those not in order.
    """

    categories: Sequence[str]
    series: Mapping[str, Sequence[float | Interval]]
    y_label: str = ""
    title: str = ""
    tones: Mapping[str, int] = field(default_factory=dict)
    height: int = 250

    def svg(self) -> str:
        """The plot as SVG text."""
        tones = {name: self.tones.get(name, i) % TONES for i, name in enumerate(self.series)}
        parts, top = head(self.title, [(name, f"t{tone}") for name, tone in tones.items()])
        rows = {name: [as_interval(v) for v in values] for name, values in self.series.items()}
        ends = [e for values in rows.values() for v in values for e in (v.low, v.value, v.high)]
        low, high = extent(ends, zero=True)
        y = Scale(low, high, self.height - 28.0 - _LINE, top + (26 if self.y_label else 10))
        left = left_of(y)
        parts += y_axis(y, left, self.y_label)
        group = (RIGHT - left) / max(1, len(self.categories))
        width = min(40.0, group * 0.8 / max(1, len(rows)))
        for i, category in enumerate(self.categories):
            middle = left + group * (i + 0.5)
            for j, (name, values) in enumerate(rows.items()):
                x = middle + (j - len(rows) / 2) * width
                told = f"{name}, {category}: {values[i]}"
                parts.append(hover(told, _bar(values[i], x, width, y), f"t{tones[name]}"))
            for row, words in enumerate(fitted(category, group - 4, 2)):
                at = self.height - 10.0 + (row - 1) * _LINE
                parts.append(text(middle, at, words, "middle", "ink"))
        parts.append(line(left, y(0), RIGHT, y(0), "axis"))
        return svg.drawing(parts, self.height, self.title or self.y_label)


@dataclass(frozen=True)
class Stacked:
    """Horizontal bars that each add up to 100 %, such as the outcomes of programs.

    Attributes:
        rows: label to (segment to count); segments are drawn in the order of the first row.
        tones: segment to colour 0-7, for those not in order.
    """

    rows: Mapping[str, Mapping[str, float]]
    title: str = ""
    tones: Mapping[str, int] = field(default_factory=dict)

    def svg(self) -> str:
        """The plot as SVG text."""
        segments = list(dict.fromkeys(s for row in self.rows.values() for s in row))
        tones = {name: self.tones.get(name, i) % TONES for i, name in enumerate(segments)}
        parts, y = head(self.title, [(name, f"t{tone}") for name, tone in tones.items()])
        longest = max((svg.text_width(label) for label in self.rows), default=0)
        above = longest > _BESIDE
        x = Scale(0, 1, 0.0 if above else 14 + longest, svg.WIDTH - 2.0)
        for label, row in self.rows.items():
            y += 8 + _LINE * above
            parts.append(
                text(0, y - 3 if above else y + 17, fitted(label, svg.WIDTH)[0], cls="ink")
            )
            parts += self._segments(label, row, x, y, tones)
            y += 26
        return svg.drawing(parts, y + 8, self.title)

    def _segments(
        self, label: str, row: Mapping[str, float], x: Scale, y: float, tones: Mapping[str, int]
    ) -> list[str]:
        parts, total, done = [], sum(row.values()) or 1, 0.0
        for name, tone in tones.items():
            share = row.get(name, 0) / total
            if share <= 0:
                continue
            start, width = x(done), x(share) - x(0)
            inner = max(0.5, width - 1)
            box = element("rect", x=start, y=y, width=inner, height=26.0, cls="bar")
            if width > 38:
                box += text(start + width / 2, y + 17, f"{share:.0%}", "middle", "on")
            parts.append(hover(f"{label}, {name}: {share:.1%}", box, f"t{tone}"))
            done += share
        return parts


def _bar(v: Interval, x: float, width: float, y: Scale) -> str:
    top, bottom = min(y(v.value), y(0)), max(y(v.value), y(0))
    drawn = element("rect", x=x + 1, y=top, width=width - 2, height=bottom - top, cls="bar")
    if v.high > v.low:
        middle = x + width / 2
        drawn += line(middle, y(v.low), middle, y(v.high), "whisker over")
    return drawn
