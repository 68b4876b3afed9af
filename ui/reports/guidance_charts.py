"""Guidance charts: draws what pictures measure along a guidance sweep."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from pipelines.analysis.clip_score import Scorer
from pipelines.analysis.guidance_sweep import (
    FASTER,
    MORE_CLIPPED,
    MORE_COLOUR,
    Sweep,
    measure,
    oversaturation,
    sweet_spot,
)
from pipelines.runs.snapshot import Snapshot
from ui.reports.svg_chart import Mark, Series, chart, legend

CURVES = {
    "colourfulness": ("Colourfulness", "0 is grey (Hasler and Süsstrunk 2003)"),
    "clipped": (
        "Clipped",
        "share of values cut off at 0 or full brightness, white and black apart",
    ),
    "contrast": ("Contrast", "standard deviation of brightness"),
    "change": ("Change", "mean difference from the scale before, 0 to 1"),
}
"""Measure to its title and what it means."""
ADHERENCE = ("Adherence", "likeness of picture and prompt (CLIP)")
DIVERSITY = ("Diversity", "mean difference between two seeds, RMS of 255")


class GuidanceCurves:
    """Guidance charts below a sweep, shown once it is over."""

    def __init__(self) -> None:
        self.output = gr.HTML(elem_id="guidance-curves", apply_default_css=False)

    def update(self, snapshot: Snapshot | None, scorer: Scorer | None) -> str:
        """Measure a sweep and draw its charts, as markup; nothing while it is not over."""
        if snapshot is None or not snapshot.finished:
            return ""
        sweep = measure(snapshot, scorer)
        return "" if sweep is None else curves(sweep)


def curves(sweep: Sweep) -> str:
    """Draw a sweep's charts with its two marks, and write what they mean."""
    good, broken = sweet_spot(sweep), oversaturation(sweep)
    marks = [
        Mark(text, x=at)
        for text, at in (("sweet spot", good), ("over-saturation", broken))
        if at is not None
    ]
    drawn = []
    for name, (title, _) in CURVES.items():
        values = [
            [None if one is None else getattr(one, name) for one in row] for row in sweep.measures
        ]
        drawn.append(_chart(title, sweep, values, marks))
    shown = list(CURVES.values())
    if sweep.adherence is not None:
        shown.insert(0, ADHERENCE)
        drawn.insert(0, _chart(ADHERENCE[0], sweep, sweep.adherence, marks))
    if sweep.diversity is not None:
        shown.append(DIVERSITY)
        drawn.append(_chart(DIVERSITY[0], sweep, [sweep.diversity], marks))
    lines = [Series(name, []) for name in sweep.rows]
    meanings = "; ".join(f"<b>{title}</b>: {meaning}" for title, meaning in shown)
    return (
        '<div class="cs-study"><h2 class="cs-title">What guidance does to these pictures</h2>'
        f"{_verdict(sweep, good, broken)}"
        f'{legend(lines)}<div class="cs-charts cs-small">{"".join(drawn)}</div>'
        f'<p class="cs-note">{meanings}.</p></div>'
    )


def _chart(
    title: str, sweep: Sweep, rows: Sequence[Sequence[float | None]], marks: Sequence[Mark]
) -> str:
    series = [
        Series(
            sweep.rows[i] if len(rows) > 1 else title,
            [(s, value) for s, value in zip(sweep.scales, row, strict=True) if value is not None],
        )
        for i, row in enumerate(rows)
    ]
    return chart(title, series, "guidance scale", marks=marks)


def _verdict(sweep: Sweep, good: float | None, broken: float | None) -> str:
    """The marks in words, and below them their definitions."""
    if good is None:
        return (
            '<p class="cs-verdict">Three rising scales or more are needed to mark a sweet spot.</p>'
        )
    where = "not reached" if broken is None else f"from {broken:g}"
    why = (
        "the lowest scale whose adherence comes within 5 % of the range from the best"
        if sweep.adherence is not None
        else "from here to the next scale the pictures change least for each doubling of guidance"
    )
    rule = (
        f"{100 * MORE_CLIPPED:g} points more values clipped than at the sweet spot, "
        f"{100 * (MORE_COLOUR - 1):.0f} % more colourful, or, beyond where pictures change "
        f"least, {FASTER:g} times as fast a change as there"
    )
    return (
        f'<p class="cs-verdict"><b>Sweet spot: {good:g}</b> · <b>Over-saturation: {where}</b></p>'
        f'<p class="cs-note">Sweet spot: {why}. Over-saturation: {rule}.</p>'
    )
