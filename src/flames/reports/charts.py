"""Geometry of the charts: numbers in, coordinates out. The templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flames.metrics.result import Estimate
from flames.taxonomy import Text
from flames.text import for_terminal, shorten

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
