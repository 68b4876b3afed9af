"""Filmstrip: shows one run along its steps, above finished runs of as many steps."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from pipelines import Axis, ContactSheetError, Request, Sheet, Studio
from pipelines.analysis.convergence import is_comparison, longest
from pipelines.request.labels import row_texts
from pipelines.request.sheet import EVALUATIONS
from pipelines.runs.run import Run
from pipelines.runs.snapshot import Snapshot
from pipelines.samplers import SAMPLERS
from ui.errors import shown
from ui.events import DIRECT, RAW, Update
from ui.run_view.component import run_view
from ui.run_view.snapshot_json import picture_url

FRAMES = 8


class Filmstrip:
    """Filmstrip below a sampler comparison, whose run is in `view`."""

    def __init__(self, studio: Studio, elem_id: str, view: gr.HTML) -> None:
        self.studio = studio
        with gr.Column(visible=False, elem_id=f"{elem_id}-film") as self.box:
            gr.Markdown(
                "## Along the steps\n"
                "A half-finished run and a finished run of half the steps are different things: "
                "here they stand below each other.",
                elem_classes="cs-heading",
            )
            with gr.Row(elem_classes="cs-study-tools"):
                self.row = gr.Dropdown([], label="Sampler", scale=0, min_width=240)
                self.show = gr.Button("Show the filmstrip", scale=0, min_width=180)
            self.run = run_view(
                studio, elem_id=f"{elem_id}-film-run", empty="", elem_classes="cs-progress-only"
            )
            self.strip = gr.HTML(elem_id=f"{elem_id}-film-strip", apply_default_css=False)
        view.run_state(self._offer, view, [self.box, self.row, self.run, self.strip], **DIRECT)
        self.show.click(self._start, [view, self.row], self.run, **RAW)
        self.run.run_state(self._follow, self.run, [self.show, self.strip], **DIRECT)

    def _offer(self, run_id: str) -> Update:
        snapshot = self._finished(run_id)
        if snapshot is None or not is_comparison(snapshot.sheet):
            return {self.box: gr.Column(visible=False), self.run: "", self.strip: ""}
        names = row_texts(snapshot.sheet)
        choices = [(name, str(i)) for i, name in enumerate(names)]
        return {
            self.box: gr.Column(visible=True),
            self.row: gr.Dropdown(choices, value="0"),
            self.run: "",
            self.strip: "",
        }

    def _start(self, run_id: str, row: str | None) -> str:
        snapshot = self._finished(run_id)
        with shown():
            if snapshot is None or not is_comparison(snapshot.sheet):
                raise ContactSheetError("there is no finished comparison to take a filmstrip of")
            rows, number = snapshot.rows, int(row or 0)
            if not 0 <= number < len(rows):
                raise ContactSheetError("choose one of the samplers of this comparison")
            sheet = film_sheet(longest(rows[number]))
            last = len(sheet.axes[0].values) - 1
            return self.studio.submit(sheet, previews=False, filmed=[last], listed=False).id

    def _follow(self, film_id: str) -> Update:
        run = self.studio.find(film_id) if film_id else None
        if run is None:
            return {self.show: gr.Button(interactive=True)}
        over = run.snapshot().finished
        return {
            self.show: gr.Button(interactive=over),
            self.strip: film_markup(run) if over else "",
        }

    def _finished(self, run_id: str) -> Snapshot | None:
        run = self.studio.find(run_id) if run_id else None
        snapshot = None if run is None else run.snapshot()
        return snapshot if snapshot is not None and snapshot.finished else None


def film_sheet(request: Request) -> Sheet:
    """Plan finished runs of some numbers of evaluations, the request itself last."""
    total = SAMPLERS[request.sampler].evaluations(request.steps)
    return Sheet(base=request, axes=(Axis(field=EVALUATIONS, values=tuple(spread(total, FRAMES))),))


def spread(total: int, most: int) -> list[int]:
    """Choose at most `most` whole numbers from 1 to `total`, each a like factor above the last."""
    if total <= most:
        return list(range(1, total + 1))
    return sorted({max(i + 1, round(total ** (i / (most - 1)))) for i in range(most)})


def film_markup(run: Run) -> str:
    """Draw two rows of pictures below the numbers of evaluations they share."""
    snapshot = run.snapshot()
    counts: Sequence[Any] = snapshot.sheet.axes[0].values
    last = len(counts) - 1
    film = run.film(last)
    long = snapshot.cells[last].request
    name = SAMPLERS[long.sampler].label
    on_the_way = [f"films/{run.id}/{last}/{n}.png" if n in film else None for n in counts]
    whole = [
        picture_url(run.id, i) if cell.status == "done" else None
        for i, cell in enumerate(snapshot.cells)
    ]
    if not film:
        return '<p class="cs-note">The filmstrip was stopped before its first step.</p>'
    head = "".join(f'<th scope="col">{n}</th>' for n in counts)
    return (
        '<div class="cs-wide"><table class="cs-film">'
        f'<thead><tr><th scope="row">evaluations</th>{head}</tr></thead><tbody>'
        + _row(
            f"One {name} run of {long.steps} steps: what it predicts on the way (“denoised”)",
            on_the_way,
        )
        + _row(f"{name} runs that end there: finished pictures", whole)
        + "</tbody></table></div>"
    )


def _row(title: str, sources: Sequence[str | None]) -> str:
    pictures = "".join(
        f'<td><img src="{source}" alt=""></td>' if source else "<td></td>" for source in sources
    )
    return f'<tr><th scope="row">{escape(title)}</th>{pictures}</tr>'
