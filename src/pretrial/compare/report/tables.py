"""Tables as HTML: numbers of a column with the same decimals, wide ones in a box that scrolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from pretrial.compare.report.markup import inline
from pretrial.compare.report.svg import MINUS, number
from pretrial.compare.stats import Interval


@dataclass(frozen=True)
class Tag:
    """A short word in a coloured pill: a verdict or an outcome."""

    text: str
    mood: Literal["good", "bad", "open", "plain"] = "plain"


Cell = str | int | float | Interval | Tag | None


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    caption: str = "",
    strong: Sequence[int] = (),
) -> str:
    """A table. Numbers stand right, with the decimals of their column; an interval has two columns.

    Args:
        header: names of the columns.
        rows: a cell for each.
        caption: stands above, and stays where it is when the table is scrolled sideways.
        strong: which rows to stress.

    Raises:
        ValueError: a row has more or fewer cells.
    """
    if any(len(row) != len(header) for row in rows):
        raise ValueError("every row of a table needs one cell for each heading")
    columns = [_column([row[i] for row in rows]) for i in range(len(header))]
    head = "".join(
        f'<th scope="col"{column.head}>{inline(name)}</th>'
        for name, column in zip(header, columns, strict=True)
    )
    body = "".join(
        ('<tr class="strong">' if i in strong else "<tr>")
        + "".join(column.cells[i] for column in columns)
        + "</tr>"
        for i in range(len(rows))
    )
    shown = f'<p class="caption">{inline(caption)}</p>' if caption else ""
    named = f' aria-label="{escape(caption)}"' if caption else ""
    return (
        f'{shown}<div class="scroll" tabindex="0" role="region"{named}><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


@dataclass(frozen=True)
class _Column:
    head: str
    cells: list[str]


def _column(cells: Sequence[Cell]) -> _Column:
    numeric = bool(cells) and all(isinstance(c, int | float | Interval | None) for c in cells)
    if not numeric or all(c is None for c in cells):
        return _Column("", [f"<td>{cell(c)}</td>" for c in cells])
    values = [_value(c) for c in cells]
    known = [v for v in values if v is not None and math.isfinite(v)]
    decimals = 0 if all(isinstance(v, int) for v in known) else decimals_of(known)
    wide = any(isinstance(c, Interval) and math.isfinite(c.low) for c in cells)
    made = []
    for found, value in zip(cells, values, strict=True):
        shown = "" if value is None else fixed(value, decimals)
        made.append(f'<td class="number">{shown}</td>')
        if wide:
            ends = ""
            if isinstance(found, Interval) and math.isfinite(found.low):
                ends = f"{fixed(found.low, decimals)} to {fixed(found.high, decimals)}"
            made[-1] += f'<td class="range">{ends}</td>'
    return _Column(' class="number" colspan="2"' if wide else ' class="number"', made)


def _value(found: Cell) -> int | float | None:
    if isinstance(found, Interval):
        return found.value
    return found if isinstance(found, int | float) else None


def decimals_of(values: Sequence[float]) -> int | None:
    """Decimals with which all of these numbers show at least two digits that say something.

    None where they are too far apart, so that each is better written on its own.
    """
    sizes = [abs(value) for value in values if value]
    if not sizes:
        return 0
    largest, smallest = math.floor(math.log10(max(sizes))), math.floor(math.log10(min(sizes)))
    decimals = max(0, 2 - largest, 1 - smallest)
    return None if largest >= 5 or decimals > 5 else decimals


def fixed(value: float, decimals: int | None) -> str:
    """A number with so many decimals; None leaves them to `number`."""
    if decimals is None or not math.isfinite(value):
        return number(value)
    if decimals == 0 and abs(value) >= 1e5:
        return number(value)
    return f"{value:,.{decimals}f}".replace(",", "\u2009").replace("-", MINUS)


def cell(value: Cell) -> str:
    """HTML of one value on its own."""
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
