"""Guidance sweep: measures what guidance does to pictures, and finds two scales that stand out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

from pipelines.analysis.clip_score import Scorer
from pipelines.analysis.image_metrics import Measures, as_array, measure_row, rms
from pipelines.request.labels import row_texts
from pipelines.runs.snapshot import Snapshot

if TYPE_CHECKING:
    from PIL.Image import Image

SWEPT = "guidance_scale"
MORE_CLIPPED = 0.05
MORE_COLOUR = 1.15
FASTER = 2.0
NEAR_BEST = 0.05


@dataclass(frozen=True, slots=True)
class Sweep:
    """Measures of a guidance sweep. Rows and scales are in the sheet's order.

    Attributes:
        measures: one list a row; None where there is no picture.
        adherence: likeness of picture and prompt, one list a row; None without a scorer.
        diversity: mean RMS difference between the pictures of two seeds, one a scale, 0..255;
            None where seeds are not the rows.
    """

    scales: tuple[float, ...]
    rows: tuple[str, ...]
    measures: tuple[tuple[Measures | None, ...], ...]
    adherence: tuple[tuple[float | None, ...], ...] | None
    diversity: tuple[float | None, ...] | None

    def mean(self, value: Callable[[Measures], float | None]) -> list[float | None]:
        """Average a measure over the rows that have it, at every scale."""
        columns = zip(*self.measures, strict=True)
        return [_mean([None if one is None else value(one) for one in col]) for col in columns]


def measure(snapshot: Snapshot, scorer: Scorer | None = None) -> Sweep | None:
    """Measure a sweep.

    Returns: None if guidance does not run along the columns alone, or fewer than two pictures
        are done.
    """
    axes = snapshot.sheet.axes
    if not axes or axes[-1].field != SWEPT or axes[-1].zipped:
        return None
    if sum(cell.status == "done" for cell in snapshot.cells) < 2:
        return None
    scales = tuple(float(value) for value in axes[-1].values)
    rows = [
        [cell.image if cell.status == "done" else None for cell in row] for row in snapshot.rows
    ]
    prompts = [row[0].request.prompt for row in snapshot.rows]
    seeds = len(axes) == 2 and axes[0].field == "seed" and not axes[0].zipped
    return Sweep(
        scales,
        tuple(row_texts(snapshot.sheet)),
        tuple(tuple(measure_row(row)) for row in rows),
        None if scorer is None else tuple(map(_scored(scorer), rows, prompts)),
        tuple(diversity(column) for column in zip(*rows, strict=True)) if seeds else None,
    )


def _scored(scorer: Scorer) -> Callable[[Sequence[Any], str], tuple[float | None, ...]]:
    def score(pictures: Sequence[Any], prompt: str) -> tuple[float | None, ...]:
        there = [picture for picture in pictures if picture is not None]
        scores = iter(scorer.adherence(there, prompt) if there else [])
        return tuple(None if picture is None else next(scores) for picture in pictures)

    return score


def diversity(pictures: Sequence[Image | None]) -> float | None:
    """Measure how far apart pictures are: the mean RMS difference of all pairs, 0..255."""
    arrays = [as_array(picture) for picture in pictures if picture is not None]
    return _mean([rms(one, other) for one, other in combinations(arrays, 2)])


def sweet_spot(sweep: Sweep) -> float | None:
    """Find the guidance scale to start from.

    With a scorer: the lowest scale whose mean adherence is within NEAR_BEST of the sweep's range
    from its best. Without: where the next scale changes the pictures least,

    Math: argmin of mean |x_{i+1} − x_i| / log₂(s_{i+1}/s_i)
    Returns: None where fewer than three ascending scales above 0 are there.
    """
    if list(sweep.scales) != sorted(set(sweep.scales)) or sum(s > 0 for s in sweep.scales) < 3:
        return None
    if sweep.adherence is not None:
        means = [_mean(list(column)) for column in zip(*sweep.adherence, strict=True)]
        known = [(s, m) for s, m in zip(sweep.scales, means, strict=True) if m is not None]
        if not known:
            return None
        best, worst = max(m for _, m in known), min(m for _, m in known)
        return next(s for s, m in known if m >= best - NEAR_BEST * (best - worst))
    rates = _rates(sweep)
    return min((rate, low) for rate, low, _ in rates)[1] if rates else None


def oversaturation(sweep: Sweep) -> float | None:
    """Find the first guidance scale above the sweet spot where colours break.

    There the mean share of clipped values is MORE_CLIPPED above the sweet spot's, or the mean
    colourfulness MORE_COLOUR times it, or, beyond where the pictures change least, they change
    more than FASTER times as fast as there: too much guidance may also bleach them. (Below, they
    change because guidance begins to act.)
    Returns: None if the sweep does not reach it.
    """
    start = sweet_spot(sweep)
    if start is None:
        return None
    clipped = sweep.mean(lambda one: one.clipped)
    colour = sweep.mean(lambda one: one.colourfulness)
    at = sweep.scales.index(start)
    first_clipped, first_colour = clipped[at], colour[at]
    if first_clipped is None or first_colour is None:
        return None
    rates = _rates(sweep)
    least, calm, _ = min(rates, default=(0.0, start, start))
    beyond = max(start, calm)
    fast = {high for rate, low, high in rates if low >= beyond and 0 < FASTER * least < rate}
    for scale, share, value in zip(sweep.scales, clipped, colour, strict=True):
        if scale <= start or share is None or value is None:
            continue
        loud = share > first_clipped + MORE_CLIPPED or value > first_colour * MORE_COLOUR
        if loud or scale in fast:
            return scale
    return None


def _rates(sweep: Sweep) -> list[tuple[float, float, float]]:
    """Change for each doubling of guidance between neighbours, with the two scales."""
    change = sweep.mean(lambda one: one.change)
    found = []
    for (low, high), by in zip(pairwise(sweep.scales), change[1:], strict=True):
        if low > 0 and by is not None:
            found.append((by / math.log2(high / low), low, high))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
