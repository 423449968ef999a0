"""A grid of shares, such as of needles found by length and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretrial.compare.report import svg
from pretrial.compare.report.page import Page
from pretrial.compare.report.svg import element, number, text

_ROW, _SIDE, _TOP = 30.0, 64.0, 24.0


@dataclass(frozen=True)
class Grid:
    """Cells that are the fuller the larger their share, with the share written in them.

    Attributes:
        columns, rows: what stands beside the cells.
        shares: from 0 to 1, a list for each row.
        x_label, y_label: what columns and rows are.
        title: of the whole.
    """

    columns: Sequence[float]
    rows: Sequence[float]
    shares: Sequence[Sequence[float]]
    x_label: str = ""
    y_label: str = ""
    title: str = ""

    def svg(self) -> str:
        """The plot as SVG text."""
        parts = [text(0, 14, self.title, cls="title"), text(0, _TOP + 14, self.y_label, cls="ink")]
        top, width = _TOP + 24, (svg.WIDTH - _SIDE) / len(self.columns)
        for i, (row, shares) in enumerate(zip(self.rows, self.shares, strict=True)):
            y = top + i * _ROW
            parts.append(text(_SIDE - 8, y + _ROW / 2 + 4, number(row), "end"))
            for j, (column, share) in enumerate(zip(self.columns, shares, strict=True)):
                x = _SIDE + j * width
                told = f"{self.x_label} {number(column)}, {self.y_label} {number(row)}: {share:.0%}"
                size = {"x": x + 1, "y": y + 1, "width": width - 2, "height": _ROW - 2}
                parts += [
                    element("rect", element("title", svg.escape(told)), cls="bar t0",
                            style=f"opacity:{0.06 + 0.74 * share:.2f}", **size),
                    text(x + width / 2, y + _ROW / 2 + 4, f"{share:.0%}", "middle", cls="ink"),
                ]  # fmt: skip
        bottom = top + len(self.rows) * _ROW
        for j, column in enumerate(self.columns):
            x = _SIDE + (j + 0.5) * width
            parts.append(text(x, bottom + 16, number(column), "middle"))
        parts.append(text(svg.WIDTH, bottom + 34, self.x_label, "end", cls="ink"))
        return svg.drawing(parts, bottom + 40, self.title)


def needle_page(cells: Sequence[Mapping[str, float]], num_trials: int) -> Page:
    """The page of a needle grid.

    Args:
        cells: as `evaluate.needle.needle_grid` gives them: length, depth and accuracy.
        num_trials: needles in each cell.
    """
    lengths = sorted({cell["length"] for cell in cells})
    depths = sorted({cell["depth"] for cell in cells})
    shares = {(cell["length"], cell["depth"]): cell["accuracy"] for cell in cells}
    rows = [[shares[length, depth] for length in lengths] for depth in depths]
    title = "Needles found"
    page = Page(title, lead="Does the model find one sentence, however long the text?")
    page.plot(
        Grid(lengths, depths, rows, "tokens", "depth", title),
        caption=f"{num_trials} needles a cell; depth 0 is the beginning of the text, 1 its end."
        " A guess finds one in ten.",
    )
    return page
