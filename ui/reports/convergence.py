"""Convergence report: charts how fast samplers approach the converged picture, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from pipelines import ContactSheetError, Request, Sheet, Studio
from pipelines.analysis.convergence import (
    FLOOR,
    REFERENCE_STEPS,
    Curve,
    curves,
    is_comparison,
    longest,
    reference,
)
from pipelines.request.labels import row_texts, value_text
from pipelines.runs.run import Run
from pipelines.runs.snapshot import Snapshot
from pipelines.samplers import SAMPLERS
from ui.errors import shown
from ui.events import DIRECT, NO_UPDATE, Update
from ui.form.choices import supports_of
from ui.reports.svg_chart import Mark, Series, chart, legend
from ui.run_view.component import run_view
from ui.run_view.snapshot_json import SHORT, duration

TOLERANCE = 8.0


class Convergence:
    """Convergence report below a sampler comparison, whose run is in `view`."""

    def __init__(self, studio: Studio, elem_id: str, view: gr.HTML) -> None:
        self.studio = studio
        self.view = view
        with gr.Column(visible=False, elem_id=f"{elem_id}-convergence") as self.box:
            gr.Markdown("## How fast the samplers get there", elem_classes="cs-heading")
            with gr.Row(elem_classes="cs-study-tools"):
                self.measure = gr.Button("Measure", scale=0, min_width=160)
                self.stop = gr.Button(
                    "Stop measuring", variant="stop", visible=False, scale=0, min_width=160
                )
                self.tolerance = gr.Number(
                    TOLERANCE,
                    label="Close enough",
                    info="RMS difference from the converged picture, of 255",
                    minimum=0.5,
                    maximum=128,
                    step=0.5,
                    scale=0,
                    min_width=340,
                )
            self.run = run_view(
                studio, elem_id=f"{elem_id}-reference", empty="", elem_classes="cs-progress-only"
            )
            self.result = gr.HTML(elem_id=f"{elem_id}-numbers", apply_default_css=False)
        view.run_state(
            self._show, [view, self.tolerance],
            [self.box, self.measure, self.tolerance, self.result], **DIRECT,
        )  # fmt: skip
        self.tolerance.change(self._draw, [view, self.tolerance], self.result, **DIRECT)
        self.measure.click(self._measure, view, self.run, **DIRECT)
        self.stop.click(self._stop, self.run, None, **DIRECT)
        self.run.run_state(
            self._follow, [self.run, view, self.tolerance],
            [self.measure, self.stop, self.tolerance, self.result], **DIRECT,
        )  # fmt: skip

    # ---- handlers

    def _show(self, run_id: str, tolerance: float) -> Update:
        snapshot = self._comparison(run_id)
        if snapshot is None:
            return {self.box: gr.Column(visible=False), self.result: ""}
        wanted = reference(snapshot.cells[0].request)
        known = self.studio.finished(wanted) is not None
        return {
            self.box: gr.Column(visible=True),
            self.measure: gr.Button(self._offer(wanted), visible=not known),
            self.tolerance: gr.Number(visible=known),
            self.result: self._draw(run_id, tolerance),
        }

    def _measure(self, run_id: str) -> str:
        snapshot = self._comparison(run_id)
        with shown():
            if snapshot is None:
                raise ContactSheetError("there is no finished comparison to measure")
            sheet = Sheet(base=reference(snapshot.cells[0].request))
            return self.studio.submit(sheet, previews=False, listed=False).id

    def _stop(self, run_id: str) -> None:
        run = self._find(run_id)
        if run is not None:
            run.stop()

    def _follow(self, measuring: str, run_id: str, tolerance: float) -> Update:
        run = self._find(measuring)
        if run is None:
            return NO_UPDATE
        now = run.snapshot()
        done = now.status == "done"
        return {
            self.measure: gr.Button(visible=not done, interactive=now.finished),
            self.stop: gr.Button(visible=not now.finished),
            self.tolerance: gr.Number(visible=done),
            **({self.result: self._draw(run_id, tolerance)} if done else {}),
        }

    def _draw(self, run_id: str, tolerance: float | None) -> str:
        snapshot = self._comparison(run_id)
        if snapshot is None:
            return ""
        request = snapshot.cells[0].request
        converged = self.studio.finished(reference(request))
        limit = tolerance or TOLERANCE
        found = curves(snapshot, converged, limit)
        return numbers(found, noise_series(snapshot, self.studio), limit, request)

    # ----

    def _find(self, run_id: str) -> Run | None:
        return self.studio.find(run_id) if run_id else None

    def _comparison(self, run_id: str) -> Snapshot | None:
        run = self._find(run_id)
        snapshot = None if run is None else run.snapshot()
        if snapshot is None or not snapshot.finished or not is_comparison(snapshot.sheet):
            return None
        if not any(cell.status == "done" for cell in snapshot.cells):
            return None
        # A model that cannot make the converged picture has nothing to be compared with.
        request = snapshot.cells[0].request
        supports = supports_of(self.studio, request.model)
        usable = supports is not None and reference(request).sampler in supports.samplers
        return snapshot if usable else None

    def _offer(self, wanted: Request) -> str:
        seconds = self.studio.plan(Sheet(base=wanted)).cost.seconds
        cost = "" if seconds is None else f", about {duration(seconds)}"
        return f"Measure the distance to the converged picture ({REFERENCE_STEPS} steps{cost})"


def noise_series(snapshot: Snapshot, studio: Studio) -> list[Series]:
    """List the noise levels before each step of each row's longest cell; equal rows are one."""
    rows: dict[tuple[float, ...], list[str]] = {}
    for name, cells in zip(row_texts(snapshot.sheet), snapshot.rows, strict=True):
        request = longest(cells)
        levels = studio.noise_levels(request)
        rows.setdefault(tuple(round(level, 3) for level in levels), []).append(name)
    return [
        Series(", ".join(names), [(i + 1.0, level) for i, level in enumerate(levels)])
        for levels, names in rows.items()
    ]


def numbers(
    found: Sequence[Curve], noise: Sequence[Series], tolerance: float, request: Request
) -> str:
    """Draw the charts and the table, as markup."""
    lines = [
        Series(curve.name, list(zip(curve.evaluations, curve.distances, strict=True)))
        for curve in found
        if curve.distances
    ]
    target = reference(request)
    kind = value_text("sampler", f"{target.sampler} {target.schedule}".removesuffix(" default"))
    about = ""
    charts: list[tuple[Sequence[Series], str]] = []
    if lines:
        about = (
            f'<p class="cs-note">The converged picture is {kind} at {REFERENCE_STEPS} steps, '
            "from the same noise. Distance is the root mean square "
            "difference of the pixels, of 255. Samplers that add noise do not approach it.</p>"
        )
        charts.append(
            (
                lines,
                chart(
                    "Distance to the converged picture",
                    lines,
                    "denoiser evaluations",
                    "RMS of 255",
                    x_log=True,
                    y_log=True,
                    marks=[Mark("close enough", y=tolerance)],
                ),
            )
        )
    charts.append(
        (
            noise,
            chart(
                "Noise level at the start of each step",
                noise,
                "step, in the longest cell of a row",
                "σ",
                y_log=True,
            ),
        )
    )
    blocks = "".join(f"<div>{drawn}{legend(series)}</div>" for series, drawn in charts)
    return (
        f'<div class="cs-study">{about}<div class="cs-charts">{blocks}</div>'
        f'<div class="cs-wide">{_table(found, tolerance)}</div></div>'
    )


def _table(found: Sequence[Curve], tolerance: float) -> str:
    measured = any(curve.distances for curve in found)
    heads = ["", "Evaluations", "Time for each"]
    if measured:
        heads += ["Distance", "Measured order", f"Evaluations to come within {tolerance:g}"]
    rows = []
    for curve in found:
        cells = [
            curve.name,
            " · ".join(str(n) for n in curve.evaluations),
            _times(curve.seconds),
        ]
        if measured:
            cells += [
                " · ".join(f"{d:.1f}" for d in curve.distances),
                _order(curve),
                "not reached" if curve.needed is None else _needed(curve),
            ]
        rows.append("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in cells) + "</tr>")
    notes = ["Time is a cell's share of the batches it was in."]
    if measured:
        notes.append(
            "The order is fitted to the logarithms of distances above "
            f"{FLOOR:g}; it needs three points on a line."
        )
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        f'<table class="cs-numbers"><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table><p class="cs-note">{" ".join(notes)}</p>'
    )


def _times(seconds: Sequence[float | None]) -> str:
    if all(one is None for one in seconds):
        return "made before"
    short = [one for one in seconds if one is not None and one < SHORT]
    if len(short) == len(seconds):
        return " · ".join(f"{one:.1f}" for one in short) + " s"
    return " · ".join("made before" if one is None else duration(one) for one in seconds)


def _order(curve: Curve) -> str:
    if SAMPLERS[curve.sampler].stochastic:
        return "adds noise"
    return "no clear line" if curve.order is None else f"{curve.order:.1f}"


def _needed(curve: Curve) -> str:
    assert curve.needed is not None
    if curve.needed <= curve.evaluations[0]:
        return f"{curve.evaluations[0]} or fewer"
    return f"about {curve.needed:.0f}"
