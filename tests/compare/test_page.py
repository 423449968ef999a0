"""The page builder: what is shown, what is escaped, that a page needs nothing from outside."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from made_records import make_record

from pretrial.compare.report.axes import x_ticks
from pretrial.compare.report.markup import inline, python_lines, side_by_side
from pretrial.compare.report.page import Page, Tag
from pretrial.compare.report.plots import Bars, Curve, Lines, Points, Stacked, sharing_axes
from pretrial.compare.report.scatter import Dot, Scatter, place_labels
from pretrial.compare.report.svg import Scale, number, text_width, tick_labels, ticks
from pretrial.compare.report.trial_page import trial_page
from pretrial.compare.stats import Interval

PLOTS = {
    "lines": Lines(
        {"a": Curve([0, 10, 20], [1, 2, 3], [0, 1, 2], [2, 3, 4]), "b": Curve([0, 20], [3, 1])},
        "steps",
        "loss",
    ),
    "points": Points({"a minus b": Interval(0.1, -0.1, 0.3)}, "difference"),
    "bars": Bars(["pass@1", "pass@5"], {"a": [Interval(0.2, 0.1, 0.3), 0.4], "b": [0.1, -0.2]}),
    "stacked": Stacked({"before": {"passed": 3, "failed": 1}, "after": {"passed": 4}}),
    "scatter": Scatter(
        {"a": Dot(10, Interval(0.5, 0.4, 0.6), True), "b": Dot(1e4, 0.7)}, log_x=True
    ),
    "flat": Lines({"a": Curve([0, 1], [0.5, 0.5])}),
    "one point": Lines({"a": Curve([5], [0.5])}),
}


@pytest.mark.parametrize("name", PLOTS)
def test_plot_is_well_formed_and_stays_inside_its_frame(name: str) -> None:
    root = ElementTree.fromstring(PLOTS[name].svg())
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    for node in root.iter():
        for key in ("x1", "x2", "cx", "x"):
            if key in node.attrib:
                assert -1 <= float(node.attrib[key]) <= width + 1, (node.tag, node.attrib)
        for key in ("y1", "y2", "cy", "y"):
            if key in node.attrib:
                assert -1 <= float(node.attrib[key]) <= height + 1, (node.tag, node.attrib)


def test_curve_goes_through_its_points() -> None:
    svg = Lines({"a": Curve([0, 1, 2], [0, 1, 0])}).svg()
    d = re.search(r'd="M([^"]+)" class="curve"', svg)
    assert d is not None
    points = [tuple(float(v) for v in p.split()) for p in d[1].split("L")]
    assert points[0][1] == points[2][1] > points[1][1]  # y grows downwards in SVG
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.2)


def test_stacked_shares_add_up() -> None:
    svg = Stacked({"row": {"a": 1, "b": 3}}).svg()
    assert "row, a: 25.0%" in svg
    assert "row, b: 75.0%" in svg


def test_page_needs_no_network_and_escapes() -> None:
    page = Page("<script>alert(1)</script>", lead="a & b")
    page.heading("R").text("`x<y` **b** [link](https://example.org) [bad](javascript:alert(1))")
    page.table(["a", "b"], [["<i>", Interval(0.5, 0.4, 0.6)], [Tag("shown", "good"), 2.0]])
    page.plot(*PLOTS.values()).code_side_by_side("a <b\n", "a = 1\n").details("d", "<x>")
    html = page.render()
    assert "<script>" not in html
    assert "<i>" not in html
    assert 'href="javascript' not in html
    assert not re.findall(r'(?:src|href)="(?!data:|https://example\.org)', html)
    assert "@import" not in html
    assert "url(" not in html
    assert '<td class="number">0.50</td><td class="range">0.40 to 0.60</td>' in html


def test_table_refuses_ragged_rows() -> None:
    with pytest.raises(ValueError, match="one cell for each heading"):
        Page("t").table(["a", "b"], [["x"]])


def test_write_makes_the_folder(tmp_path) -> None:
    path = Page("t").write(tmp_path / "a" / "b.html")
    assert path.read_text().startswith("<!doctype html>")


def test_inline_markup() -> None:
    assert inline("a `b*c` **d** <e>") == ("a <code>b*c</code> <strong>d</strong> &lt;e&gt;")


@pytest.mark.parametrize("code", ["def f(x):\n    return '''a\nb''' # c", "x = (1,\n", "\tif\n x"])
def test_python_lines_lose_nothing(code: str) -> None:
    plain = [re.sub(r"<[^>]+>", "", line).replace("&#x27;", "'") for line in python_lines(code)]
    assert plain == code.split("\n")


def test_side_by_side_marks_only_what_differs() -> None:
    left, right = side_by_side("a = 1\nb = 2\n", "a = 1\nb = 3\nc = 4\n")
    assert left.count('class="out"') == 1
    assert right.count('class="in"') == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.12345, "0.123"), (-2, "\u22122"), (1234, "1\u2009234"), (2.5e6, "2.5M"),
     (1.2e-5, "1.2e\u22125"), (float("nan"), "\u2013")],
)  # fmt: skip
def test_number(value: float, shown: str) -> None:
    assert number(value) == shown


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(-0.03, 0.11) == [0, 0.05, 0.1]
    assert Scale(1, 1000, 0, 100, log=True).ticks() == [1, 10, 100, 1000]


def test_curves_of_very_different_size_do_not_share_an_axis() -> None:
    curves = {
        "weighted": Curve([0, 1], [60, 50]),
        "small": Curve([0, 1], [1.1, 1.0]),
        "middle": Curve([0, 1], [2.5, 2]),
        "nothing": Curve([0, 1], [0, 0]),
    }
    groups = [list(group) for group in sharing_axes(curves)]
    assert groups == [["weighted"], ["small", "middle", "nothing"]]


def test_labels_of_points_keep_clear_of_each_other() -> None:
    points = {f"an arm named {i}": (200.0 + i, 120.0 + i) for i in range(8)}
    frame = (40.0, 20.0, 360.0, 240.0)
    boxes = list(place_labels(points, frame).values())
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert frame[0] <= left <= right <= frame[2]
        assert frame[1] <= top <= bottom <= frame[3]
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


@pytest.mark.parametrize(("better", "mark"), [("higher", "higher is better →"), ("lower", "← l")])
def test_effects_say_and_shade_which_side_is_better(better, mark) -> None:
    drawn = Points({"a": Interval(0.1, -0.1, 0.3)}, "difference in accuracy", better=better).svg()
    assert mark in drawn
    assert "difference in accuracy" in drawn
    d = re.search(r'd="M([\d.]+) [^"]*L([\d.]+) [\d.]+L[^"]*" class="better"', drawn)
    zero = re.search(r'x1="([\d.]+)"[^>]*class="zero"', drawn)
    assert d is not None
    assert zero is not None
    left, right = sorted((float(d[1]), float(d[2])))
    assert float(zero[1]) == pytest.approx(left if better == "higher" else right, abs=0.2)


@pytest.mark.parametrize(
    ("values", "shown"),
    [([2.5, 13.25, 0.04], ["2.500", "13.250", "0.040"]), ([1, 20, 3000], ["1", "20", "3\u2009000"]),
     ([-0.5, 0.25], ["\u22120.500", "0.250"]), ([1e6, 2.0], ["1M", "2"])],
)  # fmt: skip
def test_numbers_of_a_column_have_the_same_decimals(values, shown) -> None:
    html = Page("t").table(["x"], [[value] for value in values]).render()
    assert re.findall(r'<td class="number">([^<]*)</td>', html) == shown


def test_ticks_read_differently_and_have_room() -> None:
    assert tick_labels([0.9975, 1.0, 1.0025]) == ["0.9975", "1.0000", "1.0025"]
    found = x_ticks(Scale(0.99001, 0.99009, 150, 350))
    assert len(found) >= 2
    ends = [
        (middle - text_width(label) / 2, middle + text_width(label) / 2)
        for _, label, middle in found
    ]
    assert all(a[1] < b[0] for a, b in pairwise(ends))


def test_a_trial_page_begins_with_what_was_found() -> None:
    def first(record) -> str:
        found = re.search("<h1>(.*?)</h1>", trial_page(record).render())
        assert found is not None
        return found[1]

    assert first(make_record("toy", gain=0.4)).startswith("Better: higher accuracy, TOY 0.89")
    assert first(make_record("toy", gain=-0.4)).startswith("Worse: lower accuracy, TOY 0.1")
    assert first(make_record("toy", gain=0.02)) == (
        "Undecided: TOY against masked model in accuracy; 5 seeds cannot tell."
    )


def test_steps_are_counted_in_whole_numbers() -> None:
    for x in ([4], [10, 12]):
        drawn = Lines({"": Curve(x, [0.5] * len(x))}, "steps").svg()
        labels = re.findall(r'text-anchor="middle">([^<]*)</text>', drawn)
        assert labels[-1] == "steps"
        assert [label for label in labels[:-1] if not label.replace(".0", "").isdigit()] == []
