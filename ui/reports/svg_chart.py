"""SVG line charts: draws linear or logarithmic axes, lines and marks in the page's colours.

Drawn here because Gradio's plots know no logarithmic axes and no marks; nothing is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 14, 42
MARK_ROW = 14
"""Height of a mark's words, which stand above the plot, clear of the lines."""
COLOURS = 8
"""Colours in page.css; further series are dashed."""


@dataclass(frozen=True, slots=True)
class Series:
    """Line of a chart. Its place in the list decides its colour."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark across a chart at one x or one y, with a few words."""

    text: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True, slots=True)
class _Scale:
    """Axis scale: maps numbers to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        low, high, v = (self._bend(x) for x in (self.low, self.high, value))
        share = (v - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def _bend(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def chart(
    title: str,
    series: Sequence[Series],
    x_title: str,
    y_title: str = "",
    *,
    x_log: bool = False,
    y_log: bool = False,
    marks: Sequence[Mark] = (),
) -> str:
    """Draw a chart, without a legend; points that an axis cannot show are left out."""
    lines = [[p for p in one.points if _shown(p, x_log, y_log)] for one in series]
    points = [point for line in lines for point in line]
    if not points:
        return ""
    marks = [m for m in marks if _shown((m.x or 1.0, m.y or 1.0), x_log, y_log)]
    top = TOP + MARK_ROW * sum(m.x is not None for m in marks)
    x = _scale(
        [p[0] for p in points] + [m.x for m in marks if m.x is not None],
        LEFT, WIDTH - RIGHT, x_log, padded=False,
    )  # fmt: skip
    y = _scale(
        [p[1] for p in points] + [m.y for m in marks if m.y is not None],
        HEIGHT - BOTTOM, top, y_log, padded=True,
    )  # fmt: skip
    drawn = [
        *_axes(x, y, x_title, y_title),
        *(_mark(mark, x, y, i) for i, mark in enumerate(marks)),
    ]
    for i, (one, line) in enumerate(zip(series, lines, strict=True)):
        drawn += _line(i, one.name, line, x, y)
    return (
        f'<figure class="cs-chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(drawn)}</svg></figure>"
    )


def legend(series: Sequence[Series]) -> str:
    """Draw the names of lines beside their colours; nothing for a single line."""
    if len(series) < 2:
        return ""
    entries = (
        f'<li class="{_look(i)}"><svg viewBox="0 0 22 8" aria-hidden="true">'
        f'<path d="M1 4H21"/><circle cx="11" cy="4" r="3"/></svg>{escape(one.name)}</li>'
        for i, one in enumerate(series)
    )
    return f'<ul class="cs-legend">{"".join(entries)}</ul>'


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Choose round numbers from `low` to `high`, at most `most` of them."""
    if high <= low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10, 20) if power * nice >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers for a logarithmic axis: powers of ten, and some between if few fit."""
    decades = math.log10(high / low)
    between = (1,) if decades > 3 else (1, 3) if decades > 2 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [n * 10.0**p for p in powers for n in between]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def _shown(point: tuple[float, float], x_log: bool, y_log: bool) -> bool:
    return (not x_log or point[0] > 0) and (not y_log or point[1] > 0)


def _scale(values: Sequence[float], start: float, end: float, log: bool, *, padded: bool) -> _Scale:
    low, high = min(values), max(values)
    if log:
        if high / low < 1.5:
            low, high = low / 1.5, high * 1.5
        return _Scale(low / 1.15, high * 1.15, start, end, log)
    room = (high - low) or abs(high) or 1.0
    # A measure that cannot be negative has no room below zero.
    below = max(0.0, low - 0.06 * room) if low >= 0 else low - 0.06 * room
    if padded:
        return _Scale(below, high + 0.06 * room, start, end, log)
    return _Scale(low - 0.03 * room, high + 0.03 * room, start, end, log)


def _axes(x: _Scale, y: _Scale, x_title: str, y_title: str) -> list[str]:
    drawn = []
    for value in y.ticks():
        at = y.at(value)
        drawn.append(f'<path class="cs-rule" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    bottom = HEIGHT - BOTTOM
    for value in x.ticks():
        at = x.at(value)
        drawn.append(f'<path class="cs-rule" d="M{at:.1f} {bottom}v4"/>')
        drawn.append(f'<text x="{at:.1f}" y="{bottom + 17}" text-anchor="middle">{value:g}</text>')
    top = y.end
    drawn.append(f'<path class="cs-axis" d="M{LEFT} {top}V{bottom}H{WIDTH - RIGHT}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>'
    )
    if y_title:
        drawn.append(
            f'<text transform="translate(11 {(top + bottom) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(y_title)}</text>'
        )
    return drawn


def _line(
    i: int, name: str, points: Sequence[tuple[float, float]], x: _Scale, y: _Scale
) -> list[str]:
    if not points:
        return []
    places = [(x.at(a), y.at(b)) for a, b in points]
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    dots = (
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3">'
        f"<title>{escape(name)}: {p[0]:g}, {p[1]:.3g}</title></circle>"
        for (a, b), p in zip(places, points, strict=True)
    )
    return [f'<g class="{_look(i)}" data-name="{escape(name)}"><path d="M{path}"/>', *dots, "</g>"]


def _look(i: int) -> str:
    return f"cs-series cs-series-{i % COLOURS}" + (" cs-dashed" if i >= COLOURS else "")


def _mark(mark: Mark, x: _Scale, y: _Scale, number: int) -> str:
    if mark.x is not None:
        at = x.at(mark.x)
        right = at > (LEFT + WIDTH - RIGHT) / 2
        above = TOP + MARK_ROW * number - 4
        words = (
            f'<text x="{at + (-5 if right else 5):.1f}" y="{above + 8}" '
            f'text-anchor="{"end" if right else "start"}">{escape(mark.text)}</text>'
        )
        return f'<g class="cs-mark"><path d="M{at:.1f} {above}V{HEIGHT - BOTTOM}"/>{words}</g>'
    at = y.at(mark.y or 0.0)
    return (
        f'<g class="cs-mark"><path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{WIDTH - RIGHT}" y="{at - 4:.1f}" text-anchor="end">'
        f"{escape(mark.text)}</text></g>"
    )
