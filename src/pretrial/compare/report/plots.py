"""Plots as inline SVG: curves with bands, points with intervals, bars, stacked bars, scatter.

Each plot is a dataclass with `svg()`. Colours are tones 0-7 of the style sheet, so that a plot
follows light and dark mode; by default the first thing drawn has tone 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pretrial.compare.report import svg
from pretrial.compare.report.svg import Scale, element, extent, line, number, path, text
from pretrial.compare.stats import Interval

_TONES = 8


def _interval(value: float | Interval) -> Interval:
    return value if isinstance(value, Interval) else Interval(value, value, value)


def _hover(title: str, content: str, cls: str) -> str:
    return element("g", element("title", svg.escape(title)) + content, cls=cls)


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


@dataclass(frozen=True)
class Lines:
    """Curves over a common x axis, such as a loss over steps."""

    curves: Mapping[str, Curve]
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    log_x: bool = False
    height: int = 270

    def svg(self) -> str:
        """The plot as SVG text."""
        tones = [(c.tone if c.tone is not None else i) % _TONES for i, c in enumerate(self._all())]
        named = [(name, f"t{tone}") for name, tone in zip(self.curves, tones, strict=True)]
        parts, top = _head(self.title, named)
        xs = [v for c in self._all() for v in c.x if not self.log_x or v > 0]
        low, high = extent(xs, pad=0)
        y_low, y_high = extent(v for c in self._all() for v in (*c.y, *c.low, *c.high))
        y = Scale(y_low, y_high, self.height - 40.0, top + 20)
        x = Scale(low, high, _left(y), svg.WIDTH - 12.0, log=self.log_x)
        parts += _axes(x, y, self.x_label, self.y_label)
        for (name, _), curve, tone in zip(named, self._all(), tones, strict=True):
            parts.append(self._curve(name, curve, tone, x, y))
        return svg.drawing(parts, self.height, self.title or self.y_label)

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
        end = f"{name}: {number(curve.y[-1])} at {number(curve.x[-1])}"
        return _hover(end, drawn, f"t{tone}")


@dataclass(frozen=True)
class Points:
    """One point with its interval a row (a forest plot).

    Attributes:
        rows: label to value, usually an `Interval`.
        zero: draw a line at 0 and keep it in sight.
        tones: label to colour 0-7; the others have tone 0.
        seeds: label to the values of single seeds, drawn as small dots.
        band: half the width of a shaded band around 0, such as what is too small to matter.
    """

    rows: Mapping[str, float | Interval]
    x_label: str = ""
    title: str = ""
    zero: bool = True
    tones: Mapping[str, int] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    band: float = 0.0

    def svg(self) -> str:
        """The plot as SVG text."""
        parts, top = _head(self.title, [])
        shown = {label: _interval(v) for label, v in self.rows.items()}
        longest = max((svg.text_width(label) for label in shown), default=0)
        above = longest > 170  # long labels stand above their point instead of beside it
        height = 46.0 if above else 34.0
        bottom = top + height * len(shown) + 6
        ends = [e for v in shown.values() for e in (v.low, v.value, v.high)]
        ends += [value for values in self.seeds.values() for value in values]
        low, high = extent([*ends, -self.band, self.band] if self.band else ends, 0.08, self.zero)
        left = 12.0 if above else 14 + longest
        x = Scale(low, high, left, svg.WIDTH - 12.0)
        for tick in x.ticks():
            parts.append(line(x(tick), top, x(tick), bottom, "grid"))
            parts.append(text(x(tick), bottom + 16, number(tick), "middle"))
        if self.band:
            corners = [
                (-self.band, top),
                (self.band, top),
                (self.band, bottom),
                (-self.band, bottom),
            ]
            parts.append(svg.path([(x(value), y) for value, y in corners], "band", close=True))
        if self.zero:
            parts.append(line(x(0), top, x(0), bottom, "zero"))
        for i, (label, v) in enumerate(shown.items()):
            y = top + height * (i + 1) - 14
            drawn = "".join(
                element("circle", cx=x(value), cy=y + 9, r=2.5, cls="seed")
                for value in self.seeds.get(label, ())
            )
            drawn += "" if math.isnan(v.low) else line(x(v.low), y, x(v.high), y, "whisker")
            drawn += element("circle", cx=x(v.value), cy=y, r=5, cls="mark")
            name = _cut(label, svg.WIDTH if above else left)
            parts.append(text(0, y - 12 if above else y + 4, name, cls="ink"))
            parts.append(_hover(f"{label}: {v}", drawn, f"t{self.tones.get(label, 0) % _TONES}"))
        parts.append(text((left + svg.WIDTH - 12) / 2, bottom + 34, self.x_label, "middle"))
        return svg.drawing(parts, bottom + (42 if self.x_label else 24), self.title or self.x_label)


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
    height: int = 270

    def svg(self) -> str:
        """The plot as SVG text."""
        tones = {name: self.tones.get(name, i) % _TONES for i, name in enumerate(self.series)}
        parts, top = _head(self.title, [(name, f"t{tone}") for name, tone in tones.items()])
        rows = {name: [_interval(v) for v in values] for name, values in self.series.items()}
        ends = [e for values in rows.values() for v in values for e in (v.low, v.value, v.high)]
        low, high = extent(ends, zero=True)
        y = Scale(low, high, self.height - 28.0, top + 20)
        left = _left(y)
        parts += _y_axis(y, left, self.y_label)
        group = (svg.WIDTH - 12 - left) / max(1, len(self.categories))
        width = min(46.0, group * 0.8 / max(1, len(rows)))
        for i, category in enumerate(self.categories):
            middle = left + group * (i + 0.5)
            for j, (name, values) in enumerate(rows.items()):
                x = middle + (j - len(rows) / 2) * width
                hover = f"{name}, {category}: {values[i]}"
                parts.append(_hover(hover, _bar(values[i], x, width, y), f"t{tones[name]}"))
            parts.append(text(middle, self.height - 10.0, _cut(category, group), "middle", "ink"))
        parts.append(line(left, y(0), svg.WIDTH - 12, y(0), "axis"))
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
        tones = {name: self.tones.get(name, i) % _TONES for i, name in enumerate(segments)}
        parts, top = _head(self.title, [(name, f"t{tone}") for name, tone in tones.items()])
        left = min(170.0, 14 + max((svg.text_width(label) for label in self.rows), default=0))
        for i, (label, row) in enumerate(self.rows.items()):
            y, total, done = top + 34.0 * i + 8, sum(row.values()) or 1, 0.0
            x = Scale(0, 1, left, svg.WIDTH - 2.0)
            parts.append(text(0, y + 17, _cut(label, left - 10), cls="ink"))
            for name in segments:
                share = row.get(name, 0) / total
                if share <= 0:
                    continue
                start, width = x(done), x(share) - x(0)
                box = element(
                    "rect", x=start, y=y, width=max(0.5, width - 1), height=26.0, cls="bar"
                )
                if width > 38:
                    box += text(start + width / 2, y + 17, f"{share:.0%}", "middle", "on")
                parts.append(_hover(f"{label}, {name}: {share:.1%}", box, f"t{tones[name]}"))
                done += share
        return svg.drawing(parts, top + 34.0 * len(self.rows) + 8, self.title)


@dataclass(frozen=True)
class Dot:
    """One point of a scatter plot; `front` marks those that no other point dominates."""

    x: float
    y: float | Interval
    front: bool = False
    tone: int = 0


@dataclass(frozen=True)
class Scatter:
    """Named points, such as cost against quality, with a line through the Pareto front."""

    dots: Mapping[str, Dot]
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    log_x: bool = False
    height: int = 300

    def svg(self) -> str:
        """The plot as SVG text."""
        parts, top = _head(self.title, [])
        low, high = extent((d.x for d in self.dots.values()), pad=0.12)
        if self.log_x:
            low, high = (min(d.x for d in self.dots.values()) / 1.3, max(high, low * 2))
        shown = {name: _interval(d.y) for name, d in self.dots.items()}
        y_low, y_high = extent(e for v in shown.values() for e in (v.low, v.value, v.high))
        y = Scale(y_low, y_high, self.height - 40.0, top + 20)
        x = Scale(low, high, _left(y), svg.WIDTH - 12.0, log=self.log_x)
        parts += _axes(x, y, self.x_label, self.y_label)
        front = sorted((x(d.x), y(shown[n].value)) for n, d in self.dots.items() if d.front)
        if len(front) > 1:
            parts.append(path(front, "front"))
        for name, dot in self.dots.items():
            v = shown[name]
            drawn = ""
            if not math.isnan(v.low):
                drawn += line(x(dot.x), y(v.low), x(dot.x), y(v.high), "whisker")
            drawn += element("circle", cx=x(dot.x), cy=y(v.value), r=5.0, cls="mark")
            right = x(dot.x) + 9 + svg.text_width(name) > svg.WIDTH
            drawn += text(
                x(dot.x) + (-9 if right else 9),
                y(v.value) - 6,
                name,
                "end" if right else "start",
                "ink",
            )
            hover = f"{name}: {v} at {number(dot.x)}"
            parts.append(_hover(hover, drawn, f"t{dot.tone % _TONES}"))
        return svg.drawing(parts, self.height, self.title or self.y_label)


def _head(title: str, names: list[tuple[str, str]]) -> tuple[list[str], float]:
    """Title and legend; returns them and the y where the plot may begin."""
    parts, top = [], 4.0
    if title:
        parts.append(text(0, 14, title, cls="title"))
        top = 24.0
    if names and not (len(names) == 1 and not names[0][0]):
        drawn, top = svg.legend(names, top + 12)
        parts.append(drawn)
    return parts, top


def _cut(label: str, width: float) -> str:
    """`label`, shortened to `width` pixels."""
    fits = int(width / svg.text_width("x"))
    return label if len(label) <= fits else label[: max(1, fits - 1)] + "…"


def _left(y: Scale) -> float:
    """Room for the tick labels of a y axis."""
    return 10 + max(svg.text_width(number(t)) for t in y.ticks())


def _y_axis(y: Scale, left: float, label: str) -> list[str]:
    parts = [text(0, y.end - 8, label)] if label else []
    for tick in y.ticks():
        parts.append(line(left, y(tick), svg.WIDTH - 12, y(tick), "grid"))
        parts.append(text(left - 6, y(tick) + 4, number(tick), "end"))
    return parts


def _axes(x: Scale, y: Scale, x_label: str, y_label: str) -> list[str]:
    parts = _y_axis(y, x.start, y_label)
    parts.append(line(x.start, y.start, x.end, y.start, "axis"))
    last = -1e9
    for tick in x.ticks():
        label, at = number(tick), x(tick)
        if at - svg.text_width(label) / 2 < last + 6:
            continue
        last = at + svg.text_width(label) / 2
        parts.append(line(at, y.start, at, y.start + 4, "axis"))
        parts.append(
            text(min(at, svg.WIDTH - svg.text_width(label) / 2), y.start + 17, label, "middle")
        )
    parts.append(text((x.start + x.end) / 2, y.start + 35, x_label, "middle"))
    return parts


def _bar(v: Interval, x: float, width: float, y: Scale) -> str:
    top, bottom = min(y(v.value), y(0)), max(y(v.value), y(0))
    drawn = element("rect", x=x + 1, y=top, width=width - 2, height=bottom - top, cls="bar")
    if v.high > v.low:
        middle = x + width / 2
        drawn += line(middle, y(v.low), middle, y(v.high), "whisker over")
    return drawn
