"""Geometry of the charts: numbers in, coordinates out. The templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flames.metrics.result import Bounds, Estimate
from flames.taxonomy import Text
from flames.text import for_terminal, shorten

_BLOCKS = "▁▂▃▄▅▆▇█"
_RADIUS = 150.0
_MARGIN_X = 92.0
_MARGIN_Y = 32.0
_COLUMNS = 13
_LINE = 18.0


@dataclass(frozen=True)
class Axis:
    """One spoke: its end and its label, on one line or two."""

    x: float
    y: float
    label_x: float
    label_y: float
    anchor: Literal["start", "middle", "end"]
    label: Text
    label_more: Text


@dataclass(frozen=True)
class Series:
    """One model on the radar: its polygon, its points and, where known, its interval as a band."""

    name: str
    polygon: str
    points: tuple[tuple[float, float], ...]
    band: str = ""
    own: bool = False


@dataclass(frozen=True)
class Radar:
    """A radar chart of values from 0 to 100 on three axes or more."""

    width: float
    height: float
    axes: tuple[Axis, ...]
    rings: tuple[tuple[int, str], ...]
    series: tuple[Series, ...]
    radius: float = _RADIUS


def _wrapped(label: str) -> tuple[str, str]:
    whole = for_terminal(label)
    first = shorten(whole, _COLUMNS)
    if first == whole:
        return whole, ""
    cut = len(first) - 1
    space = whole.rfind(" ", 0, cut + 1)
    cut = space if space > 0 else cut
    rest = whole[cut:].strip()
    return whole[:cut].rstrip(), shorten(rest[::-1], _COLUMNS)[::-1]


def radar(
    labels: Sequence[Text],
    own: Sequence[tuple[str, Sequence[Estimate]]],
    others: Sequence[tuple[str, Sequence[float]]] = (),
) -> Radar | None:
    """Lays out a radar chart, `own` estimates with a band; None for fewer than three axes."""
    if len(labels) < 3:
        return None
    count = len(labels)
    width, height = 2 * (_RADIUS + _MARGIN_X), 2 * (_RADIUS + _MARGIN_Y)

    def at(position: int, value: float) -> tuple[float, float]:
        angle = 2 * math.pi * position / count - math.pi / 2
        reach = _RADIUS * value / 100
        return (
            round(width / 2 + reach * math.cos(angle), 1),
            round(height / 2 + reach * math.sin(angle), 1),
        )

    def polygon(values: Sequence[float]) -> str:
        return " ".join(f"{x},{y}" for x, y in map(at, range(count), values))

    def band(estimates: Sequence[Estimate]) -> str:
        outer = polygon([estimate.high for estimate in estimates])
        inner = polygon([estimate.low for estimate in estimates])
        return f"M{outer.replace(' ', 'L')}ZM{inner.replace(' ', 'L')}Z"

    axes = []
    for position, label in enumerate(labels):
        x, y = at(position, 100)
        label_x, label_y = at(position, 107)
        anchor: Literal["start", "middle", "end"] = "middle"
        if abs(label_x - width / 2) > 6:
            anchor = "start" if label_x > width / 2 else "end"
        (zh, zh_more), (en, en_more) = _wrapped(label.zh), _wrapped(label.en)
        if (zh_more or en_more) and y < height / 2 - _RADIUS / 2:
            label_y -= _LINE  # two lines above the chart, not into it
        shown = Text(zh=zh, en=en), Text(zh=zh_more, en=en_more)
        axes.append(Axis(x, y, label_x, label_y, anchor, *shown))
    shapes = [(name, [each.value for each in found], band(found)) for name, found in own]
    shapes += [(name, list(values), "") for name, values in others]
    series = [
        Series(name, polygon(values), tuple(map(at, range(count), values)), drawn, own=bool(drawn))
        for name, values, drawn in shapes
    ]
    rings = tuple((value, polygon([value] * count)) for value in (25, 50, 75, 100))
    return Radar(width, height, tuple(axes), rings, tuple(series))


@dataclass(frozen=True)
class TimePoint:
    """One value of a time line, in coordinates from 0 to 100; `edges` are its extremes."""

    x: float
    y: float
    low: float
    high: float
    edges: tuple[float, float] | None = None


@dataclass(frozen=True)
class TimeLine:
    """Values in a row with their intervals; a line breaks where a value is missing.

    `steps` hold the start, the end and the direction of what changed.
    """

    points: tuple[TimePoint, ...]
    lines: tuple[str, ...]
    bands: tuple[str, ...]
    missing: tuple[float, ...]
    steps: tuple[tuple[float, float, Literal["up", "down"]], ...]
    ticks: tuple[int, ...]


def axis_span(estimates: Iterable[Estimate | None]) -> tuple[int, int]:
    """Returns tens that hold all intervals, at least 20 apart."""
    ends = [end for each in estimates if each is not None for end in (each.low, each.high)]
    low = 10 * math.floor(min(ends, default=0) / 10)
    high = max(10 * math.ceil(max(ends, default=100) / 10), low + 20)
    return (low, high) if high <= 100 else (80, 100)


def time_line(
    estimates: Sequence[Estimate | None],
    bounds: Sequence[Bounds | None],
    steps: Mapping[int, float],
    span: tuple[int, int],
) -> TimeLine:
    """Lays out values on an axis over `span`.

    Args:
        bounds: What each value would be at the extremes of its unscored responses.
        steps: By how much a value changed from one place to the next, where that is shown.
    """
    bottom, top = span
    count = len(estimates)

    def x(place: float) -> float:
        return round(100 * (place + 0.5) / count, 2)

    def y(value: float) -> float:
        return round(100 * (top - min(max(value, bottom), top)) / (top - bottom), 2)

    def point(place: int, each: Estimate) -> TimePoint:
        edge = bounds[place]
        wide = None if edge is None or edge.low == edge.high else (y(edge.low), y(edge.high))
        return TimePoint(x(place), y(each.value), y(each.low), y(each.high), wide)

    found = [None if e is None else point(i, e) for i, e in enumerate(estimates)]
    runs: list[list[TimePoint]] = [[]]
    for each in found:
        if each is None:
            runs.append([])
        else:
            runs[-1].append(each)
    drawn = [run for run in runs if len(run) > 1]
    return TimeLine(
        points=tuple(each for each in found if each is not None),
        lines=tuple("M" + "L".join(f"{p.x} {p.y}" for p in run) for run in drawn),
        bands=tuple(
            " ".join([*(f"{p.x},{p.high}" for p in run), *(f"{p.x},{p.low}" for p in run[::-1])])
            for run in drawn
        ),
        missing=tuple(x(place) for place, each in enumerate(found) if each is None),
        steps=tuple(
            (x(place), x(place + 1), "up" if by > 0 else "down") for place, by in steps.items()
        ),
        ticks=(top, (top + bottom) // 2, bottom),
    )


def sparkline(values: Sequence[float | None], span: tuple[int, int]) -> str:
    """Returns values as a row of blocks, `·` where there is none."""
    low, high = span
    marks = []
    for value in values:
        share = 0.0 if value is None else (value - low) / (high - low)
        place = min(max(int(share * len(_BLOCKS)), 0), len(_BLOCKS) - 1)
        marks.append("·" if value is None else _BLOCKS[place])
    return "".join(marks)


@dataclass(frozen=True)
class Bar:
    """A count as a bar with its label before it."""

    label: Text
    count: int
    y: float
    length: float


@dataclass(frozen=True)
class Bars:
    """Counts below each other; the bars begin at `start`."""

    bars: tuple[Bar, ...]
    height: float
    start: float = 250.0
    width: float = 700.0


def bars(counts: Sequence[tuple[Text | str, int]]) -> Bars:
    """Lays out counts as bars, the largest one over the whole length."""
    most = max((count for _, count in counts), default=0) or 1
    laid = []
    for place, (label, count) in enumerate(counts):
        both = label if isinstance(label, Text) else Text(zh=label, en=label)
        shown = Text(zh=shorten(for_terminal(both.zh), 30), en=shorten(for_terminal(both.en), 30))
        laid.append(Bar(shown, count, 28.0 * place, round(380 * count / most, 1)))
    return Bars(tuple(laid), 28.0 * len(laid))
