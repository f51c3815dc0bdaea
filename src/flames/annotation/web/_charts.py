"""Two small charts as SVG, drawn with attributes alone (the policy allows no inline style)."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from flames.metrics import Estimate

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640.0, 150.0, 38.0, 22.0, 10.0


def _short(start: str) -> str:
    """A bucket's beginning: the hour, or the day."""
    return f"{start[11:13]}:00" if len(start) > len("2026-11-22") else start[5:]


def _frame(body: list[Markup], starts: Sequence[str], top: str) -> Markup:
    step = (_WIDTH - _LEFT) / max(len(starts), 1)
    every = max(1, len(starts) // 8)
    for index, start in enumerate(starts):
        if index % every == 0:
            x = _LEFT + step * (index + 0.5)
            body.append(
                Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                    x, _HEIGHT - 6, _short(start)
                )
            )
    base = _HEIGHT - _BOTTOM
    body.append(
        Markup(
            '<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
            '<text x="{3}" y="{4}" text-anchor="end">{5}</text>'
            '<text x="{3}" y="{2}" text-anchor="end">0</text>'
        ).format(_LEFT, _WIDTH, base, _LEFT - 6, _TOP + 8, top)
    )
    return Markup('<svg class="chart" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        _WIDTH, _HEIGHT, Markup("").join(body)
    )


def bars(rows: Sequence[tuple[str, int]]) -> Markup:
    """Counts over time."""
    most = max((count for _, count in rows), default=0) or 1
    step = (_WIDTH - _LEFT) / max(len(rows), 1)
    width = min(step * 0.7, 48.0)
    room = _HEIGHT - _BOTTOM - _TOP
    body = [
        Markup(
            '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2">'
            "<title>{}: {}</title></rect>"
        ).format(
            _LEFT + step * (index + 0.5) - width / 2,
            _TOP + room * (1 - count / most),
            width,
            room * count / most,
            _short(start),
            count,
        )
        for index, (start, count) in enumerate(rows)
    ]
    return _frame(body, [start for start, _ in rows], str(most))


def dots(rows: Sequence[tuple[str, Estimate | None]]) -> Markup:
    """Percentages over time with their intervals."""
    step = (_WIDTH - _LEFT) / max(len(rows), 1)
    room = _HEIGHT - _BOTTOM - _TOP

    def y(value: float) -> float:
        return _TOP + room * (1 - value / 100)

    body = []
    for index, (start, estimate) in enumerate(rows):
        if estimate is not None:
            x = _LEFT + step * (index + 0.5)
            body.append(
                Markup(
                    '<g class="dot"><title>{4}: {5:.0f} % ({6:.0f}–{7:.0f})</title>'
                    '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>'
                    '<circle cx="{0:.1f}" cy="{3:.1f}" r="4"/></g>'
                ).format(
                    x,
                    y(estimate.low),
                    y(estimate.high),
                    y(estimate.value),
                    _short(start),
                    estimate.value,
                    estimate.low,
                    estimate.high,
                )
            )
    return _frame(body, [start for start, _ in rows], "100 %")
