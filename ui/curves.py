"""Curves of what pictures measure along a guidance sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
import pandas as pd

from pipelines.labels import row_texts
from pipelines.metrics import measure_row
from pipelines.runs import Snapshot

SWEPT = "guidance_scale"
CURVES = {
    "colourfulness": ("Colourfulness", "0 is grey (Hasler and Süsstrunk 2003)"),
    "clipped": ("Clipped", "share of values cut off at black or full brightness"),
    "contrast": ("Contrast", "standard deviation of brightness"),
    "change": ("Change", "mean difference from the scale before, 0 to 1"),
}
"""Measure to its title and what it means."""


class GuidanceCurves:
    """One small plot a measure, shown once a guidance sweep is over."""

    def __init__(self) -> None:
        meanings = "; ".join(f"**{title}**: {meaning}" for title, meaning in CURVES.values())
        self.heading = gr.Markdown(
            f"## What guidance does to these pictures\n{meanings}.",
            elem_classes="cs-heading",
            visible=False,
        )
        with gr.Row():
            self.plots = [
                gr.LinePlot(
                    x="guidance", y=name, color="row", title=title, x_title="guidance scale",
                    y_title=" ", height=240, min_width=200, visible=False,
                )
                for name, (title, _) in CURVES.items()
            ]  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        return [self.heading, *self.plots]

    def update(self, snapshot: Snapshot | None) -> list[Any]:
        """New values for `outputs`; everything is hidden where there is nothing to draw."""
        table = None if snapshot is None or not snapshot.finished else curve_table(snapshot)
        if table is None:
            return [gr.update(visible=False) for _ in self.outputs]
        color = "row" if table["row"].nunique() > 1 else None
        drawn = [
            gr.LinePlot(table.dropna(subset=[name]), y=name, color=color, visible=True)
            for name in CURVES
        ]
        return [gr.Markdown(visible=True), *drawn]


def curve_table(snapshot: Snapshot) -> pd.DataFrame | None:
    """One line a picture: its guidance scale, its row's name, its measures.

    Returns: None if guidance does not run along the columns or fewer than two pictures are done.
    """
    sheet = snapshot.sheet
    if not sheet.axes or sheet.axes[-1].field != SWEPT or sheet.axes[-1].zipped:
        return None
    scales: Sequence[Any] = sheet.axes[-1].values
    pictures = [cell.image if cell.status == "done" else None for cell in snapshot.cells]
    lines = []
    for number, name in enumerate(row_texts(sheet)):
        row = measure_row(pictures[number * len(scales) : (number + 1) * len(scales)])
        for scale, measures in zip(scales, row, strict=True):
            if measures is not None:
                values = {curve: getattr(measures, curve) for curve in CURVES}
                lines.append({"guidance": float(scale), "row": name, **values})
    return pd.DataFrame(lines) if len(lines) > 1 else None
