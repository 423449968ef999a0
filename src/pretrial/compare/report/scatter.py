"""A scatter plot whose labels keep clear of each other, of the points and of the frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pretrial.compare.report import svg
from pretrial.compare.report.axes import RIGHT, TONES, as_interval, axes, head, hover, left_of
from pretrial.compare.report.svg import Scale, element, extent, fitted, line, path, text
from pretrial.compare.stats import Interval

_HEIGHT = 14.0  # of a line of text
_RADIUS = 5.0
Box = tuple[float, float, float, float]  # left, top, right, bottom


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
    height: int = 280

    def svg(self) -> str:
        """The plot as SVG text."""
        parts, top = head(self.title, [])
        low, high = extent((d.x for d in self.dots.values()), pad=0.12)
        if self.log_x:
            low, high = (min(d.x for d in self.dots.values()) / 1.3, max(high, low * 2))
        shown = {name: as_interval(d.y) for name, d in self.dots.items()}
        y_low, y_high = extent(e for v in shown.values() for e in (v.low, v.value, v.high))
        y = Scale(y_low, y_high, self.height - 40.0, top + 26)
        x = Scale(low, high, left_of(y), RIGHT, log=self.log_x)
        parts += axes(x, y, self.x_label, self.y_label)
        front = sorted((x(d.x), y(shown[n].value)) for n, d in self.dots.items() if d.front)
        if len(front) > 1:
            parts.append(path(front, "front"))
        places = {name: (x(dot.x), y(shown[name].value)) for name, dot in self.dots.items()}
        frame = (x.start, y.end - _HEIGHT / 2, float(svg.WIDTH), y.start - 2)
        boxes = place_labels(places, frame)
        for name, dot in self.dots.items():
            (at, middle), v, box = places[name], shown[name], boxes[name]
            drawn = "" if math.isnan(v.low) else line(at, y(v.low), at, y(v.high), "whisker")
            drawn += element("circle", cx=at, cy=middle, r=_RADIUS, cls="mark")
            drawn += _leader(at, middle, box)
            drawn += text(box[0], box[3] - 3, fitted(name, box[2] - box[0])[0], cls="ink")
            told = f"{name}: {v} at {svg.number(dot.x)}"
            parts.append(hover(told, drawn, f"t{dot.tone % TONES}"))
        return svg.drawing(parts, self.height, self.title or self.y_label)


def place_labels(points: Mapping[str, tuple[float, float]], frame: Box) -> dict[str, Box]:
    """A box for the label of each point, near it, that covers no other label and no point.

    Boxes are tried right and left of the point, then further and further above and below it. Where
    the frame is full, the first one that covers no label is taken, and else the first.

    Args:
        points: label to where its point is.
        frame: which no label leaves.
    """
    marks = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in points.values()]
    placed: dict[str, Box] = {}
    for name, (x, y) in points.items():
        width = min(svg.text_width(name), frame[2] - frame[0])
        tried = list(_around(x, y, width, frame))
        taken = placed.values()
        free = [box for box in tried if not any(_meet(box, other) for other in taken)]
        clear = [box for box in free if not any(_meet(box, mark) for mark in marks)]
        placed[name] = (clear or free or tried)[0]
    return placed


def _around(x: float, y: float, width: float, frame: Box) -> Iterator[Box]:
    """Boxes of one line around a point within the frame, the nearest first."""
    rows = int((frame[3] - frame[1]) / _HEIGHT) * 2
    for step in range(rows):
        for sign in (-1, 1) if step else (-1,):
            top = y - 11 + sign * step * _HEIGHT * 0.75
            if not frame[1] <= top <= frame[3] - _HEIGHT:
                continue
            for left in (x + 9, x - 9 - width, x - width / 2):
                if step < 2 and left == x - width / 2:
                    continue  # it would cover its own point
                left = max(frame[0], min(left, frame[2] - width))
                yield left, top, left + width, top + _HEIGHT


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _leader(x: float, y: float, box: Box) -> str:
    """A thin line from the point to its label, where that is not beside it."""
    near_x = max(box[0], min(x, box[2]))
    near_y = max(box[1], min(y, box[3]))
    far = math.hypot(near_x - x, near_y - y) > 12
    return line(x, y, near_x, near_y, "leader") if far else ""
