"""Charts of a guidance sweep: what is drawn, what is marked, and what is said of it."""

from __future__ import annotations

import re
from dataclasses import replace

import gradio as gr
import pytest
from PIL import Image

from pipelines import Request, Sheet
from pipelines.analysis.guidance_sweep import Sweep
from pipelines.analysis.image_metrics import Measures
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone, RunFinished, RunStarted, Stats
from pipelines.runs.run import Run
from ui.reports.guidance_charts import ADHERENCE, CURVES, DIVERSITY, GuidanceCurves, curves

SWEEP = Sweep(
    scales=(1, 2, 4, 8),
    rows=("seed 1", "seed 2"),
    measures=(
        (
            Measures(10, 0.0, 0.1, None), Measures(11, 0.0, 0.1, 0.2),
            Measures(12, 0.0, 0.1, 0.05), Measures(13, 0.3, 0.1, 0.06),
        ),
        (Measures(10, 0.0, 0.1, None), None, Measures(12, 0.0, 0.1, 0.05), None),
    ),
    adherence=None,
    diversity=None,
)  # fmt: skip
"""Least change from 2 to 4; at 8 colours break."""


def titles(markup: str) -> list[str]:
    return re.findall(r"<figcaption>(.*?)</figcaption>", markup)


def chart_of(markup: str, title: str) -> str:
    (found,) = re.findall(rf"<figure[^>]*><figcaption>{title}</figcaption>.*?</figure>", markup)
    return str(found)


def points(chart: str, name: str) -> list[str]:
    """What the points of a line say: the scale and the value."""
    return re.findall(rf"<title>{name}: (.*?)</title>", chart)


def test_every_measure_has_a_chart_with_a_line_a_row() -> None:
    markup = curves(SWEEP)
    assert titles(markup) == [title for title, _ in CURVES.values()]
    colour = chart_of(markup, "Colourfulness")
    assert points(colour, "seed 1") == ["1, 10", "2, 11", "4, 12", "8, 13"]
    assert points(colour, "seed 2") == ["1, 10", "4, 12"], "no picture, no point"
    assert points(chart_of(markup, "Change"), "seed 2") == ["4, 0.05"]
    assert re.findall(r"<li.*?</svg>(.*?)</li>", markup) == ["seed 1", "seed 2"]


def test_both_marks_are_drawn_and_said() -> None:
    markup = curves(SWEEP)
    assert "Sweet spot: 2</b>" in markup and "Over-saturation: from 8</b>" in markup
    for title, _ in CURVES.values():
        assert ">sweet spot</text>" in chart_of(markup, title)
        assert ">over-saturation</text>" in chart_of(markup, title)


def test_what_is_not_reached_is_not_marked() -> None:
    calm = tuple(one and replace(one, clipped=0.0, colourfulness=10) for one in SWEEP.measures[0])
    markup = curves(replace(SWEEP, rows=("",), measures=(calm,)))
    assert "Over-saturation: not reached" in markup
    assert "over-saturation</text>" not in markup and "sweet spot</text>" in markup


def test_a_short_sweep_has_no_sweet_spot() -> None:
    rows = tuple(row[:2] for row in SWEEP.measures)
    markup = curves(replace(SWEEP, scales=(1, 2), measures=rows))
    assert "Three rising scales or more are needed" in markup
    assert "cs-mark" not in markup and len(titles(markup)) == len(CURVES)


def test_adherence_comes_first_and_diversity_last() -> None:
    scored = replace(
        SWEEP,
        adherence=((0.1, 0.2, 0.3, 0.3), (0.1, None, 0.3, None)),
        diversity=(5.0, None, 3.0, None),
    )
    markup = curves(scored)
    assert titles(markup)[0] == ADHERENCE[0] and titles(markup)[-1] == DIVERSITY[0]
    assert points(chart_of(markup, ADHERENCE[0]), "seed 2") == ["1, 0.1", "4, 0.3"]
    assert points(chart_of(markup, DIVERSITY[0]), DIVERSITY[0]) == ["1, 5", "4, 3"]
    assert "Sweet spot: 4</b>" in markup, "the best adherence, not the least change"
    assert f"<b>{ADHERENCE[0]}</b>: {ADHERENCE[1]}" in markup


@pytest.mark.parametrize("axis", ["guidance_scale=1,4,9", "steps=1,4,9"])
def test_charts_come_when_a_sweep_is_over(axis: str) -> None:
    with gr.Blocks():
        panel = GuidanceCurves()
    sheet = Sheet(base=Request(prompt="an apple"), axes=(parse_axis(axis),))
    run = Run(sheet, sheet.expand(), "abc")
    run.publish(RunStarted("abc", run.requests))
    for i, level in enumerate((10, 20, 30)):
        picture = Image.new("RGB", (8, 8), (level, level, level))
        run.publish(CellDone("abc", i, run.requests[i], picture, None, 1.0, cached=False))
    assert panel.update(None, None) == "" == panel.update(run.snapshot(), None)
    run.publish(RunFinished("abc", "done", Stats()))
    drawn = titles(panel.update(run.snapshot(), None))
    assert len(drawn) == (len(CURVES) if axis.startswith("guidance") else 0)
