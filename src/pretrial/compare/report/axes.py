"""What plots share: title and legend, axes whose labels do not meet, text on hovering."""

from __future__ import annotations

from itertools import pairwise

from pretrial.compare.report import svg
from pretrial.compare.report.svg import Scale, element, fitted, line, number, text
from pretrial.compare.stats import Interval

TONES = 8
RIGHT = svg.WIDTH - 8.0  # where the frame of a plot ends


def as_interval(value: float | Interval) -> Interval:
    """An interval; of a number, one that begins and ends there."""
    return value if isinstance(value, Interval) else Interval(value, value, value)


def hover(title: str, content: str, cls: str) -> str:
    """A group that says `title` under the mouse, and to a screen reader."""
    return element("g", element("title", svg.escape(title)) + content, cls=cls)


def head(title: str, names: list[tuple[str, str]]) -> tuple[list[str], float]:
    """Title and legend; returns them and the y where the plot may begin."""
    parts, top = [], 4.0
    if title:
        parts.append(text(0, 14, fitted(title, svg.WIDTH * 0.9)[0], cls="title"))
        top = 24.0
    if names and not (len(names) == 1 and not names[0][0]):
        drawn, top = svg.legend(names, top + 12)
        parts.append(drawn)
    return parts, top


def left_of(y: Scale) -> float:
    """Where the frame begins, so that the labels of the y axis have room."""
    return 10 + max(svg.text_width(label) for label in _labels(y, y.ticks()))


def y_axis(y: Scale, left: float, label: str) -> list[str]:
    """Grid lines with their numbers, and the name of the axis above them."""
    parts = [text(0, y.end - 14, fitted(label, svg.WIDTH)[0])] if label else []
    values = y.ticks()
    for tick, shown in zip(values, _labels(y, values), strict=True):
        parts.append(line(left, y(tick), RIGHT, y(tick), "grid"))
        parts.append(text(left - 6, y(tick) + 4, shown, "end"))
    return parts


def x_ticks(x: Scale, whole: bool = False) -> list[tuple[float, str, float]]:
    """Ticks as (value, label, where the label's middle is); as many as have room side by side.

    Args:
        x: the scale.
        whole: whole numbers alone, as of steps, where there are any.
    """
    for count in (5, 4, 3, 2, 1):
        values = x.ticks(count)
        if whole:
            values = [value for value in values if value == round(value)] or values
        labels = _labels(x, values)
        widths = [svg.text_width(label) for label in labels]
        at = [_inside(x(v), w) for v, w in zip(values, widths, strict=True)]
        ends = [(a - w / 2 - 4, a + w / 2 + 4) for a, w in zip(at, widths, strict=True)]
        if all(first[1] <= second[0] for first, second in pairwise(ends)):
            return list(zip(values, labels, at, strict=True))
    return list(zip(values, labels, at, strict=True))[:1]


def axes(x: Scale, y: Scale, x_label: str, y_label: str, whole: bool = False) -> list[str]:
    """Both axes of a frame; `whole` as in `x_ticks`."""
    parts = y_axis(y, x.start, y_label)
    parts.append(line(x.start, y.start, x.end, y.start, "axis"))
    for value, label, middle in x_ticks(x, whole):
        parts.append(line(x(value), y.start, x(value), y.start + 4, "axis"))
        parts.append(text(middle, y.start + 17, label, "middle"))
    return [*parts, *centred(x_label, (x.start + x.end) / 2, y.start + 34)]


def centred(label: str, middle: float, y: float) -> list[str]:
    """The name of an axis in one line around `middle`, moved to where it is wholly in sight."""
    if not label:
        return []
    label = fitted(label, svg.WIDTH)[0]
    return [text(_inside(middle, svg.text_width(label)), y, label, "middle")]


def _inside(middle: float, width: float) -> float:
    """`middle`, moved so that a text of that width around it is wholly in sight."""
    return max(width / 2, min(middle, svg.WIDTH - width / 2))


def _labels(scale: Scale, values: list[float]) -> list[str]:
    return [number(v) for v in values] if scale.log else svg.tick_labels(values)
