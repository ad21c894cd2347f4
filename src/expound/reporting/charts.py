"""Small charts as SVG, legible in grey and in the dark: no script, no font, no colour but the page's variables.

Sizes are in the chart's own units; the page scales it. Text takes `currentColor`, what is shown takes `--accent`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

LINE_WIDTH, LINE_HEIGHT = 300, 170
ROW_WIDTH, ROW_HEIGHT, LABEL_WIDTH = 340, 26, 124
TEXT_SIZE = 11
MOST_NUMBERS = 9  # below a line
PERCENT_TICKS = {0.0: "0", 0.25: "25", 0.5: "50", 0.75: "75", 1.0: "100"}
STEPS = (1.0, 2.0, 5.0, 10.0)
ACCENT = "var(--accent, currentColor)"
FAINT = {"stroke": "currentColor", "stroke-opacity": "0.22"}
MARKED = {"stroke": "currentColor", "stroke-width": "1.5"}
LEFT, RIGHT = 44, LINE_WIDTH - 10  # where the lines of an upright chart begin and end


@dataclass(frozen=True)
class Words:
    """What a chart says of itself: a title, a description of what is to be seen, and the axes with their units."""

    title: str
    description: str
    x: str
    y: str = ""


@dataclass(frozen=True)
class Interval:
    """A row of an interval chart: a point with whiskers, or a point alone; `hollow` marks what is compared against."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Scale:
    """A straight map from values to positions."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return about four round numbers in steps of 1, 2 or 5 whose first and last enclose low and high."""
    if high <= low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def tick_labels(ticks: Sequence[float]) -> tuple[str, ...]:
    """Return the ticks as text with as many decimals as their step needs."""
    step = ticks[1] - ticks[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return tuple(f"{tick + 0.0:.{decimals}f}".replace("-", "−") for tick in ticks)


def _labelled(low: float, high: float) -> dict[float, str]:
    ticks = nice_ticks(low, high)
    return dict(zip(ticks, tick_labels(ticks), strict=True))


def line_chart(points: Sequence[tuple[int, float | None]], words: Words) -> str:
    """Return a line by whole numbers (updates); None leaves a gap."""
    known = [value for _, value in points if value is not None]
    ticks = _labelled(min(known), max(known))
    numbers = [number for number, _ in points]
    across = Scale(numbers[0], max(numbers[-1], numbers[0] + 1), LEFT, RIGHT)
    chart, up = _upright_chart(ticks, words)
    for number in numbers[:: math.ceil(len(numbers) / MOST_NUMBERS)]:
        _text(chart, across.at(number), up.start + 15, str(number))
    _trace(chart, points, across, up)
    return _markup(chart)


def interval_chart(rows: Sequence[Interval], words: Words) -> str:
    """Return a row for each interval, and a marked line at 0, which means no difference."""
    ends = [end for row in rows for end in (row.value, row.low, row.high, 0.0) if end is not None]
    return _rows(rows, words, _labelled(min(ends), max(ends)), 0.0)


def percent_chart(rows: Sequence[Interval], words: Words) -> str:
    """Return a row for each interval of a share of 1, from 0 to 100 %, and a marked line at an even 50 %."""
    return _rows(rows, words, PERCENT_TICKS, 0.5)


def _rows(rows: Sequence[Interval], words: Words, ticks: Mapping[float, str], line_at: float) -> str:
    across = Scale(min(ticks), max(ticks), LABEL_WIDTH, ROW_WIDTH - 14)
    chart = _chart(ROW_WIDTH, ROW_HEIGHT * len(rows) + 38, words)
    _ground(chart, ticks, across, ROW_HEIGHT * len(rows), words.x)
    zero = across.at(line_at)
    _line(chart, (zero, 2), (zero, ROW_HEIGHT * len(rows)), MARKED)
    for index, row in enumerate(rows):
        middle = ROW_HEIGHT * (index + 0.5)
        _text(chart, LABEL_WIDTH - 10, middle + 4, row.label, anchor="end")
        _whiskers(chart, row, across, middle)
    return _markup(chart)


def growth_chart(rows: Sequence[Interval], words: Words) -> str:
    """Return a column for each share of 1, in percent with its whiskers and joined by a line; even 50 % is marked."""
    ends = [100 * end for row in rows for end in (row.value, row.low, row.high, 0.5) if end is not None]
    ticks = _labelled(min(ends), max(ends))
    across = Scale(0, max(1, len(rows) - 1), 64, LINE_WIDTH - 30)
    chart, up = _upright_chart(ticks, words, marked=50)
    for place, row in enumerate(rows):
        _text(chart, across.at(place), up.start + 15, row.label)
        if row.low is not None and row.high is not None:
            _upright(chart, across.at(place), up.at(100 * row.low), up.at(100 * row.high))
    _trace(chart, [(place, 100 * row.value) for place, row in enumerate(rows)], across, up)
    return _markup(chart)


def bar_chart(bars: Sequence[tuple[str, float]], words: Words) -> str:
    """Return horizontal bars from zero, each with its value."""
    ticks = _labelled(0.0, max(value for _, value in bars))
    across = Scale(0.0, max(ticks), LABEL_WIDTH, ROW_WIDTH - 44)
    chart = _chart(ROW_WIDTH, ROW_HEIGHT * len(bars) + 38, words)
    _ground(chart, ticks, across, ROW_HEIGHT * len(bars), words.x)
    for index, (label, value) in enumerate(bars):
        top = ROW_HEIGHT * index + 6
        size = {"width": _number(across.at(value) - across.start), "height": str(ROW_HEIGHT - 12)}
        SubElement(chart, "rect", {"x": str(LABEL_WIDTH), "y": str(top), **size, "fill": ACCENT})
        _text(chart, LABEL_WIDTH - 10, top + 11, label, anchor="end")
        _text(chart, across.at(value) + 5, top + 11, f"{value:.0f}" if value >= 10 else f"{value:.1f}", anchor="start")
    return _markup(chart)


def _chart(width: int, height: int, words: Words) -> Element:
    chart = Element("svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": words.title})
    SubElement(chart, "title").text = words.title
    SubElement(chart, "desc").text = words.description
    return chart


def _upright_chart(ticks: Mapping[float, str], words: Words, marked: float | None = None) -> tuple[Element, Scale]:
    """Return a chart with a line at each tick, and the scale of its heights."""
    chart, up = _chart(LINE_WIDTH, LINE_HEIGHT, words), Scale(min(ticks), max(ticks), LINE_HEIGHT - 34, 22)
    for tick, label in ticks.items():
        _line(chart, (LEFT, up.at(tick)), (RIGHT, up.at(tick)), MARKED if tick == marked else FAINT)
        _text(chart, LEFT - 6, up.at(tick) + 4, label, anchor="end")
    _text(chart, 0, 10, words.y, anchor="start")
    _text(chart, (LEFT + RIGHT) / 2, LINE_HEIGHT - 4, words.x)
    return chart, up


def _ground(chart: Element, ticks: Mapping[float, str], across: Scale, bottom: float, axis: str) -> None:
    for tick, label in ticks.items():
        _line(chart, (across.at(tick), 2), (across.at(tick), bottom), FAINT)
        _text(chart, across.at(tick), bottom + 14, label)
    _text(chart, (across.start + across.end) / 2, bottom + 31, axis)


def _trace(chart: Element, points: Sequence[tuple[int, float | None]], across: Scale, up: Scale) -> None:
    path, pen = [], "M"
    for number, value in points:
        if value is not None:
            x, y = _number(across.at(number)), _number(up.at(value))
            path.append(f"{pen}{x} {y}")
            SubElement(chart, "circle", {"cx": x, "cy": y, "r": "2.6", "fill": ACCENT})
        pen = "M" if value is None else "L"
    SubElement(chart, "path", {"d": " ".join(path), "fill": "none", "stroke": ACCENT, "stroke-width": "2"})


def _whiskers(chart: Element, row: Interval, across: Scale, middle: float) -> None:
    if row.low is not None and row.high is not None:
        thick = {"stroke": ACCENT, "stroke-width": "2"}
        _line(chart, (across.at(row.low), middle), (across.at(row.high), middle), thick)
        for end in (row.low, row.high):
            _line(chart, (across.at(end), middle - 4), (across.at(end), middle + 4), thick)
    fill = "var(--card, white)" if row.hollow else ACCENT
    look = {"r": "4.5", "fill": fill, "stroke": ACCENT, "stroke-width": "2"}
    SubElement(chart, "circle", {"cx": _number(across.at(row.value)), "cy": _number(middle), **look})


def _upright(chart: Element, x: float, low: float, high: float) -> None:
    thick = {"stroke": ACCENT, "stroke-width": "1.5"}
    _line(chart, (x, low), (x, high), thick)
    for end in (low, high):
        _line(chart, (x - 4, end), (x + 4, end), thick)


def _line(chart: Element, start: tuple[float, float], end: tuple[float, float], look: Mapping[str, str]) -> None:
    names = ("x1", "y1", "x2", "y2")
    SubElement(chart, "line", {**dict(zip(names, map(_number, (*start, *end)), strict=True)), **look})


def _text(chart: Element, x: float, y: float, text: str, anchor: str = "middle") -> None:
    look = {"text-anchor": anchor, "font-size": str(TEXT_SIZE), "fill": "currentColor"}
    SubElement(chart, "text", {"x": _number(x), "y": _number(y), **look}).text = text


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _markup(chart: Element) -> str:
    return ElementTree.tostring(chart, encoding="unicode")
