"""The needle grid as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

from pretrial.compare.report.grid import Grid, needle_page

CELLS = [
    {"length": length, "depth": depth, "accuracy": share}
    for length, depth, share in [
        (128, 0.0, 1.0),
        (128, 1.0, 0.5),
        (2048, 0.0, 0.0),
        (2048, 1.0, 0.25),
    ]
]


def test_every_cell_says_its_share_and_the_fuller_the_larger() -> None:
    root = ElementTree.fromstring(Grid([128, 2048], [0, 1], [[1, 0], [0.5, 0.25]], "a", "b").svg())
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    cells = root.findall("rect")
    shown = [float(cell.attrib["style"].removeprefix("opacity:")) for cell in cells]
    assert [sorted(shown).index(each) for each in shown] == [3, 0, 2, 1]
    assert [cell.find("title").text for cell in cells] == [
        "a 128, b 0: 100%",
        "a 2\u2009048, b 0: 0%",
        "a 128, b 1: 50%",
        "a 2\u2009048, b 1: 25%",
    ]
    for cell in cells:
        x, y, w, h = (float(cell.attrib[key]) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


def test_the_page_puts_lengths_beside_and_depths_below_one_another(tmp_path) -> None:
    path = needle_page(CELLS[::-1], 10).write(tmp_path / "needles.html")
    html = path.read_text("utf-8")
    assert html.index("tokens 128, depth 0: 100%") < html.index("depth 0: 0%")
    assert html.index("depth 0: 0%") < html.index("tokens 128, depth 1: 50%")
    assert "10 needles a cell" in html
