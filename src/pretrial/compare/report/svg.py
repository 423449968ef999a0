"""Scales, ticks and elements of an SVG plot, drawn as text; colours come from the style sheet.

A plot is laid out here, without a browser, so widths of texts are estimates. They are those of
DejaVu Sans, the widest of the fonts in the style sheet: what fits in it fits in the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH = 360  # user units: a phone's column, so that 12 px stay 12 px there
MINUS = "\u2212"
_SIZES = {4.2: "ijlI.,:;'|! ", 5.2: "ftr()[]/-", 12.0: "mwMW@%", 10.2: "+=<>\u2212\u2190\u2192"}
_WIDTHS = {character: width for width, own in _SIZES.items() for character in own}


def text_width(text: str) -> float:
    """Width of `text` at 12 px, in user units; rather too large than too small."""
    return sum(_WIDTHS.get(c, 8.9 if c.isupper() else 7.7) for c in text)


def fitted(text: str, width: float, lines: int = 1) -> list[str]:
    """`text` broken at spaces into at most so many lines of `width`; what is left over is cut."""
    found, words = [""], text.split()
    for word in words:
        longer = f"{found[-1]} {word}".strip()
        if found[-1] and text_width(longer) > width and len(found) < lines:
            found.append(word)
        else:
            found[-1] = longer
    return [_cut(line, width + 0.1) for line in found]  # the width may be the text's own


def _cut(text: str, width: float) -> str:
    if text_width(text) <= width:
        return text
    while text and text_width(text + "\u2026") > width:
        text = text[:-1]
    return text.rstrip() + "\u2026"


def number(value: float) -> str:
    """A number for an axis or a table: three significant digits, thousands as k, M, G, T."""
    if not math.isfinite(value):
        return "\u2013"
    size = abs(value)
    if size >= 1e5:
        for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if size >= factor:
                return (f"{value / factor:.3g}" + suffix).replace("-", MINUS)
    if size >= 1e3:
        text = f"{value:,.0f}".replace(",", "\u2009")
    elif size and size < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        text = f"{float(digits):g}e{int(power)}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", MINUS)


def unit_name(unit: str) -> str:
    """A unit as readers write it."""
    return "FLOPs" if unit == "flops" else unit


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    if high <= low:
        return [low]
    raw = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels of evenly spaced ticks, all with the same decimals, so that no two read alike."""
    largest = max(map(abs, values), default=0)
    step = min((b - a for a, b in pairwise(values)), default=0)
    if not step >= 1e-4 or largest >= 1e4:
        return [number(value) for value in values]
    decimals = next(d for d in range(6) if abs(round(step, d) - step) < step * 1e-6)
    return [f"{value:,.{decimals}f}".replace(",", "\u2009").replace("-", MINUS) for value in values]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two positive numbers, or 1, 2, 5 times them where those are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1,), (1, 2, 5)):
        found = [m * 10.0**p for p in powers for m in multiples if low <= m * 10.0**p <= high]
        if len(found) >= 3:
            return found
    return found or [low, high]


@dataclass(frozen=True)
class Scale:
    """Maps data from [low, high] to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, self.low)), math.log(low), math.log(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round numbers within the scale."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, count)


def extent(values: Iterable[float], pad: float = 0.05, zero: bool = False) -> tuple[float, float]:
    """Smallest and largest finite value, widened by the share `pad`; with `zero`, 0 is inside."""
    finite = [v for v in values if math.isfinite(v)]
    if zero:
        finite.append(0.0)
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if low == high:
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    margin = (high - low) * pad
    return (
        low - margin if not (zero and low == 0) else 0.0,
        high + margin if not (zero and high == 0) else 0.0,
    )


def element(name: str, content: str = "", **attributes: object) -> str:
    """One SVG element; underscores in names become hyphens, `cls` becomes `class`."""
    parts = []
    for key, value in attributes.items():
        shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        parts.append(f' {"class" if key == "cls" else key.replace("_", "-")}="{escape(shown)}"')
    return (
        f"<{name}{''.join(parts)}>{content}</{name}>" if content else f"<{name}{''.join(parts)}/>"
    )


def text(x: float, y: float, content: str, anchor: str = "start", cls: str = "") -> str:
    """A text element; `anchor` is start, middle or end."""
    extra = {"cls": cls} if cls else {}
    return element("text", escape(content), x=x, y=y, text_anchor=anchor, **extra)


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)


def path(points: Sequence[tuple[float, float]], cls: str, close: bool = False) -> str:
    """A polyline through `points`."""
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if close else "")
    return element("path", d=d, cls=cls)


def legend(names: Sequence[tuple[str, str]], top: float) -> tuple[str, float]:
    """A legend in rows; `names` are (label, tone class). Returns it and the y below it."""
    parts, x, y = [], 0.0, top
    for label, tone in names:
        label = fitted(label, WIDTH - 32)[0]
        width = 16 + text_width(label) + 12
        if x and x + width > WIDTH:
            x, y = 0.0, y + 18
        swatch = element("rect", x=x, y=y - 9, width=10.0, height=10.0, rx=2, cls=f"bar {tone}")
        parts += [swatch, text(x + 15, y, label, cls="ink")]
        x += width
    return "".join(parts), y + 10


def drawing(parts: Iterable[str], height: float, title: str) -> str:
    """The whole SVG, with `title` read by screen readers."""
    label = escape(title)
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )
