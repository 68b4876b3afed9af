"""Charts say where things are: ticks, scales, marks and names, read back from the SVG."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.reports.svg_chart import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Mark,
    Series,
    chart,
    legend,
    log_ticks,
    ticks,
)

Points = list[tuple[float, float]]
MEASURES = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


def drawn(markup: str) -> ElementTree.Element:
    """A chart's SVG; fails where the markup is not well-formed."""
    figure = ElementTree.fromstring(markup)
    svg = figure.find("svg")
    assert svg is not None
    return svg


def places(svg: ElementTree.Element, name: str) -> Points:
    """Where a line's points are, in pixels."""
    (line,) = [group for group in svg.iter("g") if group.get("data-name") == name]
    return [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in line.iter("circle")]


def words(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter("text")]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.97, 15.4, [5, 10, 15]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0.1, 0.3, [0.1, 0.15, 0.2, 0.25, 0.3]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@given(MEASURES, st.floats(1e-3, 1e6), st.integers(3, 9))
def test_ticks_are_few_even_and_inside(low: float, length: float, most: int) -> None:
    high = low + length
    found = ticks(low, high, most)
    slack = 1e-6 * length
    assert 1 <= len(found) <= most
    assert low - slack <= found[0] and found[-1] <= high + slack
    steps = [after - before for before, after in pairwise(found)]
    assert all(step == pytest.approx(steps[0], rel=1e-4) for step in steps)
    if steps:
        digit = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
        assert min(abs(digit - nice) for nice in (1, 2, 5)) < 1e-3
        assert len(found) > (most - 1) / 2.5 - 1, "a step of more than two and a half times"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 100, [1, 2, 5, 10, 20, 50, 100]),
        (1, 1000, [1, 3, 10, 30, 100, 300, 1000]),
        (0.01, 1000, [0.01, 0.1, 1, 10, 100, 1000]),
        (3, 30, [5, 10, 20]),
    ],
)
def test_logarithmic_ticks_thin_out(low: float, high: float, expected: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(expected)


def test_a_linear_axis_has_equal_steps_and_y_grows_upward() -> None:
    svg = drawn(chart("Title", [Series("line", [(0, 0), (5, 1), (10, 4)])], "x"))
    (x0, y0), (x1, y1), (x2, y2) = places(svg, "line")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y2 - y1 == pytest.approx(3 * (y1 - y0), abs=0.4) and y2 < y0


def test_a_logarithmic_axis_has_equal_factors() -> None:
    line = Series("line", [(1, 0.1), (10, 1), (100, 10)])
    svg = drawn(chart("Title", [line], "x", x_log=True, y_log=True))
    (x0, y0), (x1, y1), (x2, y2) = places(svg, "line")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and x1 - x0 > 50
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2) and y1 - y0 < -30


def test_what_a_logarithmic_axis_cannot_show_is_left_out() -> None:
    series = [Series("line", [(0, 5), (1, 0), (2, 3), (4, 6)]), Series("none", [(0, 1)])]
    svg = drawn(chart("Title", series, "x", x_log=True, y_log=True))
    assert len(places(svg, "line")) == 2
    assert "none" not in [group.get("data-name") for group in svg.iter("g")]
    assert chart("Title", series[1:], "x", x_log=True) == ""
    assert chart("Title", [], "x") == ""


@given(st.lists(st.tuples(MEASURES, MEASURES), min_size=1, max_size=8), st.booleans())
def test_every_point_is_inside_the_plot(points: Points, marked: bool) -> None:
    marks = [Mark("here", x=points[0][0])] if marked else []
    for x, y in places(drawn(chart("Title", [Series("line", points)], "x", marks=marks)), "line"):
        assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def test_a_mark_stands_at_its_value() -> None:
    line = Series("line", [(1, 10), (3, 20), (9, 30)])
    marks = [Mark("sweet spot", x=3), Mark("close enough", y=20)]
    svg = drawn(chart("Title", [line], "x", marks=marks))
    _, (x, y), _ = places(svg, "line")
    upright, level = (
        group[0].attrib["d"] for group in svg.iter("g") if group.get("class") == "cs-mark"
    )
    assert upright.startswith(f"M{x:.1f} ") and level.startswith(f"M{LEFT} {y:.1f}H")
    assert {"sweet spot", "close enough", "x"} <= set(words(svg))


def test_a_mark_beyond_the_points_widens_the_axis() -> None:
    line = Series("line", [(1, 1), (2, 2)])
    near = places(drawn(chart("Title", [line], "x")), "line")
    far = places(drawn(chart("Title", [line], "x", marks=[Mark("far", x=10)])), "line")
    assert far[1][0] < near[1][0] - 100


def test_a_measure_that_cannot_be_negative_has_no_room_below_zero() -> None:
    (_, bottom), _ = places(drawn(chart("Title", [Series("line", [(1, 0), (2, 5)])], "x")), "line")
    assert bottom == HEIGHT - BOTTOM
    (_, above), _ = places(drawn(chart("Title", [Series("line", [(1, -1), (2, 5)])], "x")), "line")
    assert above < HEIGHT - BOTTOM


def test_names_are_text_and_never_markup() -> None:
    series = [Series('<b>&"', [(1, 2)]), Series("two", [(1, 3)])]
    svg = drawn(chart("<i>", series, "a & b", "σ < 1", marks=[Mark("<u>", x=1)]))
    assert len(places(svg, '<b>&"')) == 1
    assert {"a & b", "σ < 1", "<u>"} <= set(words(svg))
    entries = ElementTree.fromstring(legend(series))
    assert ["".join(entry.itertext()) for entry in entries] == ['<b>&"', "two"]


def test_colours_come_round_dashed() -> None:
    series = [Series(str(i), [(i, i)]) for i in range(COLOURS + 1)]
    groups = [g for g in drawn(chart("Title", series, "x")).iter("g") if g.get("data-name")]
    looks = [group.attrib["class"] for group in groups]
    assert len(set(looks)) == COLOURS + 1
    assert looks[COLOURS] == f"{looks[0]} cs-dashed"
    entries = ElementTree.fromstring(legend(series))
    assert [entry.attrib["class"] for entry in entries] == looks


def test_one_line_needs_no_legend() -> None:
    assert legend([Series("alone", [(1, 1)])]) == "" == legend([])
