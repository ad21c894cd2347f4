from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expound.reporting.charts import (
    Interval,
    Words,
    bar_chart,
    growth_chart,
    interval_chart,
    line_chart,
    nice_ticks,
    percent_chart,
    tick_labels,
)

WORDS = Words("Reward <by> update", "It rises & falls.", "update", "nats")
FIGURES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@given(FIGURES, FIGURES)
def test_ticks_enclose_what_is_shown_in_equal_round_steps(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    steps = [after - before for before, after in pairwise(ticks)]
    assert all(step == pytest.approx(steps[0], rel=1e-6) for step in steps)
    assert f"{steps[0]:.0e}"[0] in "125"
    assert 2 <= len(ticks) <= 7


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 9.3, ("0", "5", "10")),
        (-0.01, 0.32, ("−0.1", "0.0", "0.1", "0.2", "0.3", "0.4")),
        (31.2, 44.0, ("30", "35", "40", "45")),
        (0.123, 0.126, ("0.123", "0.124", "0.125", "0.126")),
    ],
)
def test_tick_labels_have_the_decimals_that_their_step_needs(low: float, high: float, labels: tuple[str, ...]) -> None:
    assert tick_labels(nice_ticks(low, high)) == labels


def parse(chart: str) -> ElementTree.Element:
    root = ElementTree.fromstring(chart)
    assert root.tag == "svg"
    assert root.findtext("title") == WORDS.title
    assert root.findtext("desc") == WORDS.description
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [found.text or "" for found in root.iter("text")]


def test_a_line_goes_up_where_the_values_do_and_breaks_where_one_is_missing() -> None:
    root = parse(line_chart([(1, 0.0), (2, 1.0), (3, None), (4, 2.0)], WORDS))
    circles = list(root.iter("circle"))
    heights = [float(circle.attrib["cy"]) for circle in circles]
    assert heights == sorted(heights, reverse=True)
    assert len(circles) == 3
    path = root.find("path")
    assert path is not None
    assert path.attrib["d"].count("M") == 2
    assert {"update", "nats"} <= set(texts(root))


def test_a_single_point_and_equal_values_can_be_drawn() -> None:
    assert len(list(parse(line_chart([(1, 3.0)], WORDS)).iter("circle"))) == 1
    assert len(list(parse(line_chart([(1, 0.0), (2, 0.0)], WORDS)).iter("circle"))) == 2


def test_whiskers_enclose_the_point_and_zero_is_marked() -> None:
    root = parse(interval_chart([Interval("round 1", 0.2, 0.1, 0.3), Interval("alone", 0.15, hollow=True)], WORDS))
    point, alone = (float(circle.attrib["cx"]) for circle in root.iter("circle"))
    thick = [line for line in root.iter("line") if line.attrib.get("stroke-width") == "2"]
    low, high = float(thick[0].attrib["x1"]), float(thick[0].attrib["x2"])
    assert low < point < high
    assert alone < point
    zero = next(line for line in root.iter("line") if line.attrib.get("stroke-width") == "1.5")
    assert float(zero.attrib["x1"]) < low
    assert len(thick) == 3
    assert {"round 1", "alone", "update"} <= set(texts(root))


def test_shares_are_drawn_in_percent_from_zero_to_a_hundred_with_even_in_the_middle() -> None:
    root = parse(percent_chart([Interval("round 1", 0.5, 0.25, 1.0)], WORDS))
    assert {"0", "25", "50", "75", "100"} <= set(texts(root))
    even = next(line for line in root.iter("line") if line.attrib.get("stroke-width") == "1.5")
    circle = next(root.iter("circle"))
    assert even.attrib["x1"] == circle.attrib["cx"]


def test_growth_has_a_column_of_whiskers_for_each_share_and_marks_even() -> None:
    rows = [Interval("9", 0.62, 0.55, 0.70), Interval("18", 0.70, 0.63, 0.77), Interval("36", 0.74)]
    root = parse(growth_chart(rows, WORDS))
    heights = [float(circle.attrib["cy"]) for circle in root.iter("circle")]
    assert heights == sorted(heights, reverse=True)
    upright = [line for line in root.iter("line") if line.attrib["x1"] == line.attrib["x2"]]
    ends = [sorted((float(line.attrib["y1"]), float(line.attrib["y2"]))) for line in upright]
    assert len(ends) == 2
    assert all(top < height < bottom for (top, bottom), height in zip(ends, heights, strict=False))
    even = [line for line in root.iter("line") if line.attrib.get("stroke") == "currentColor"]
    assert [line.attrib["stroke-width"] for line in even if "stroke-width" in line.attrib] == ["1.5"]
    assert {"9", "18", "36", "50", "update", "nats"} <= set(texts(root))


def test_bars_are_as_long_as_their_values() -> None:
    root = parse(bar_chart([("tune", 120.0), ("fit", 30.0), ("settle", 0.4)], WORDS))
    widths = [float(bar.attrib["width"]) for bar in root.iter("rect")]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.3)
    assert {"tune", "120", "0.4", "update"} <= set(texts(root))
