"""Run buttons: Generate and Stop, what a run will cost, and the question before a large one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipelines.rendering.run_plan import CostEstimate
from ui.events import Update
from ui.run_view.snapshot_json import duration

CHECKING = '<p class="cs-note cs-later" role="status">Getting ready to start…</p>'


@dataclass(frozen=True, slots=True)
class RunButtons:
    """Components that start and stop a tab's run; the methods are the states they show.

    Attributes:
        forecast: what the run will cost, before it is started.
        problem: what was wrong with it, until the next try.
        waiting: the form's fields that the question is about; None while nothing is asked.
        confirm: holds the question and its two answers.
    """

    forecast: gr.HTML
    generate: gr.Button
    stop: gr.Button
    problem: gr.HTML
    waiting: gr.JSON
    confirm: gr.Group
    question: gr.HTML
    confirmed: gr.Button
    declined: gr.Button

    @property
    def outputs(self) -> list[Block]:
        """What the states change."""
        return [
            self.problem, self.generate, self.stop, self.waiting, self.confirm, self.question,
        ]  # fmt: skip

    def checking(self) -> Update:
        """Show that the form's fields are being checked."""
        return {
            self.generate: gr.Button(interactive=False),
            self.problem: gr.HTML(CHECKING, visible=True),
            **self._ask(None, ""),
        }

    def asking(self, fields: Mapping[str, Any], cost: CostEstimate) -> Update:
        """Ask whether a large run is wanted.

        Args:
            fields: kept for the answer: what is confirmed is what was asked about, whatever
                happens to the form.
        """
        return {
            self.generate: gr.Button(interactive=True),
            **self.without_problem(),
            **self._ask(fields, f"This is a large run: {cost_line(cost)}. Make it?"),
        }

    def refused(self, message: str) -> Update:
        """Show why nothing was started; `message` is markup, as `toast` has it."""
        problem = f'<p class="cs-problem" role="alert">{message}</p>'
        return {
            self.generate: gr.Button(interactive=True),
            self.problem: gr.HTML(problem, visible=True),
        }

    def dismissed(self) -> Update:
        """Take the question away."""
        return {self.generate: gr.Button(interactive=True), **self._ask(None, "")}

    def started(self) -> Update:
        """Offer to stop; the run itself says when it can be started again."""
        return {**self.without_problem(), self.stop: gr.Button(interactive=True)}

    def running(self, active: bool) -> Update:
        """Offer to stop while a run is active, to start one otherwise."""
        return {
            self.generate: gr.Button(interactive=not active),
            self.stop: gr.Button(interactive=active),
        }

    def without_problem(self) -> Update:
        """Take away what was wrong with the last try."""
        return {self.problem: gr.HTML("", visible=False)}

    def forecast_of(self, cost: CostEstimate | None) -> gr.HTML:
        """Say what a run will cost; nothing where that is not known."""
        if cost is None:
            return gr.HTML(visible=False)
        return gr.HTML(f'<p class="cs-note">{cost_line(cost)}</p>', visible=True)

    def _ask(self, fields: Mapping[str, Any] | None, question: str) -> Update:
        return {
            self.waiting: None if fields is None else dict(fields),
            self.confirm: gr.Group(visible=fields is not None),
            self.question: f'<p class="cs-question-text" role="alert">{question}</p>',
        }


def build_run_buttons(tab: str) -> RunButtons:
    """Build the buttons of a tab, by its id, in the layout that is open."""
    forecast = gr.HTML(elem_id=f"{tab}-forecast", visible=False)
    with gr.Row():
        generate = gr.Button("Generate", variant="primary", elem_id=f"{tab}-generate", min_width=90)
        stop = gr.Button(
            "Stop", variant="stop", interactive=False, elem_id=f"{tab}-stop", min_width=90
        )
    problem = gr.HTML(elem_id=f"{tab}-problem", visible=False)
    # Not a gr.State: with one, Gradio holds a stream to every page open.
    waiting = gr.JSON(None, visible=False)
    with gr.Group(visible=False, elem_id=f"{tab}-confirm") as confirm:
        question = gr.HTML(elem_classes="cs-question")
        with gr.Row():
            confirmed = gr.Button("Make them all", variant="primary", min_width=90)
            declined = gr.Button("Not now", min_width=90)
    return RunButtons(
        forecast=forecast, generate=generate, stop=stop, problem=problem, waiting=waiting,
        confirm=confirm, question=question, confirmed=confirmed, declined=declined,
    )  # fmt: skip


def cost_line(cost: CostEstimate) -> str:
    """Say what a run will cost: `12 cells, 3 made before · up to 450 denoiser rows · about 9 s`."""
    cells = "1 cell" if cost.cells == 1 else f"{cost.cells} cells"
    if cost.cached == cost.cells:
        return f"{cells}, all made before"
    parts = [cells + (f", {cost.cached} made before" if cost.cached else "")]
    parts.append(f"up to {cost.rows:,} denoiser rows")
    if cost.seconds is not None:
        parts.append(f"about {duration(cost.seconds)}")
    return " · ".join(parts)
