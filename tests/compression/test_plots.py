"""The drawing: every point where its figures say, in the frame, and names that do not lie on one another."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.learning.compression.plots import Point, scatter
from seetell.learning.drawing import ticks

FIGURES = st.floats(0, 1e4, allow_nan=False)


def drawn(points: list[Point], floor: float | None = None, passed: bool = True) -> ElementTree.Element:
    return ElementTree.fromstring(scatter(points, "size, MB", "m.r10", floor, passed=passed))


def circles(svg: ElementTree.Element) -> list[tuple[float, float, str]]:
    return [
        (float(one.attrib["cx"]), float(one.attrib["cy"]), one.attrib["class"]) for one in svg.iter("circle")
    ]


def test_less_is_left_and_better_is_higher() -> None:
    svg = drawn(
        [
            Point("as it was", 22.0, 50.0, 48.0, 52.0),
            Point("3 layers float", 7.0, 49.0, kind="attempt"),
            Point("int8", 6.0, 49.5, 47.0, 51.0, kind="end"),
        ],
        floor=49.0,
    )
    (source_x, source_y, _), (tried_x, tried_y, tried), (end_x, end_y, end) = circles(svg)
    assert end_x < tried_x < source_x and source_y < end_y < tried_y
    assert tried == "attempt" and end == "end good"
    assert circles(drawn([Point("int8", 1, 1, kind="end")], passed=False))[0][2] == "end bad"
    (floor,) = (one for one in svg.iter("line") if one.get("class") == "floor")
    assert float(floor.attrib["y1"]) == pytest.approx(tried_y, abs=0.11), "what is allowed is where 49 is"
    intervals = [one for one in svg.iter("line") if one.get("class") == "interval"]
    assert len(intervals) == 2
    assert float(intervals[0].attrib["y2"]) < source_y < float(intervals[0].attrib["y1"])
    # The line joins the stages; attempts lie beside it.
    (way,) = svg.iter("polyline")
    corners = [tuple(map(float, corner.split(","))) for corner in way.attrib["points"].split()]
    assert corners == [(source_x, source_y), (end_x, end_y)]


@given(
    st.lists(st.builds(Point, st.just("taught again"), FIGURES, FIGURES), min_size=1, max_size=6),
    st.none() | st.floats(0, 1e4),
)
def test_all_is_inside(points: list[Point], floor: float | None) -> None:
    svg = drawn(points, floor)
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    found = circles(svg)
    assert len(found) == len(points)
    for x, y, _ in found:
        assert 52 <= x <= width - 18 and 14 <= y <= height - 44
    for one in svg.iter("text"):
        if "rotate" not in one.get("transform", ""):
            assert 0 <= float(one.attrib["x"]) <= width and 0 <= float(one.attrib["y"]) <= height


def test_names_do_not_lie_on_one_another() -> None:
    points = [Point(f"stage {number}", 5 + 0.1 * number, 50 - 0.1 * number) for number in range(4)]
    names = [one for one in drawn(points).iter("text") if one.get("class") == "name"]
    places = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in names]
    for number, (x, y) in enumerate(places):
        for other_x, other_y in places[number + 1 :]:
            assert abs(x - other_x) > 6.3 * 7 - 0.2 or abs(y - other_y) > 11.8


def test_what_is_no_number_is_left_out() -> None:
    assert circles(drawn([Point("a", 1, math.nan), Point("b", math.inf, 1)], math.nan)) == []


def test_a_name_is_no_markup() -> None:
    svg = ElementTree.fromstring(scatter([Point("<b> & c", 1, 2)], "<x>", "<y>", None, passed=True))
    assert any(one.text == "<b> & c" for one in svg.iter("text"))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_round(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 7
    assert all(low - 1e-6 * span <= value <= low + span + 1e-6 * span + 1e-9 * abs(low) for value in found)
    if len(found) > 2:
        step = found[1] - found[0]
        digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(digits - round_one) for round_one in (1, 2, 5, 10)) < 1e-2
