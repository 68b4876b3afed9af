"""The text-to-image tab: a prompt becomes one or several pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from pipelines import Request, Sheet, Studio
from presets import model_preset
from ui.errors import shown, toast
from ui.grid import run_strip, run_view, strip_value
from ui.menus import model_choices
from ui.settings import SettingsForm, Update

TAB = "text-to-image"
EMPTY = "No picture yet. Type a prompt and press Generate (or Ctrl+Enter), or pick an example."
NO_MODEL = (
    "No model found. Put a diffusers model folder (one with a model_index.json) into the "
    "models folder and reload this page."
)
CHECKING = '<p class="cs-note cs-later" role="status">Getting ready to start…</p>'
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_DIRECT: dict[str, Any] = {**_QUIET, "queue": False}
"""Handlers that answer at once and wait for nobody."""


class TextToImage:
    """The tab's components and handlers. Runs live in the studio; the tab only shows them."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.form = SettingsForm(TAB)
        # What this browser keeps: the id of the run it shows, and the form of its last run.
        self.kept = gr.BrowserState({}, storage_key=f"contact-sheet-{TAB}", secret=TAB)
        with gr.Row(elem_id=f"{TAB}-tab", elem_classes="cs-tab"):
            with gr.Column(scale=1, min_width=280, elem_classes="cs-form"):
                self._add_inputs()
            with gr.Column(scale=2, min_width=400):
                self.view = run_view(
                    studio,
                    elem_id=f"{TAB}-run",
                    empty=EMPTY if model_choices(studio) else NO_MODEL,
                )
                gr.Markdown("## Recent runs", elem_classes="cs-heading")
                self.strip = run_strip(elem_id=f"{TAB}-recent")
        self._connect()

    def _add_inputs(self) -> None:
        form = self.form
        form.add_prompts()
        with gr.Row():
            self.generate = gr.Button(
                "Generate", variant="primary", elem_id=f"{TAB}-generate", min_width=90
            )
            self.stop = gr.Button(
                "Stop", variant="stop", interactive=False, elem_id=f"{TAB}-stop", min_width=90
            )
        self.problem = gr.HTML(elem_id=f"{TAB}-problem", visible=False)
        self.examples = gr.Dataset(
            label="Examples",
            components=[gr.Textbox(visible=False)],
            samples=example_samples(self._first_model()),
            visible=bool(example_samples(self._first_model())),
            type="values",
            elem_classes="cs-examples",
        )
        form.add_settings(self.studio)

    def _first_model(self) -> str:
        models = model_choices(self.studio)
        return models[0][1] if models else str(Request.model_fields["model"].default)

    def _connect(self) -> None:
        form, start = self.form, self._start
        results = [self.view, self.kept, self.problem, self.generate, self.stop]
        run_now: dict[str, Any] = {
            "fn": start, "inputs": form.inputs, "outputs": results, "preprocess": False,
            "concurrency_limit": None, "trigger_mode": "once", **_QUIET,
        }  # fmt: skip
        self.generate.click(**run_now)
        self.examples.click(
            lambda sample: sample[0], self.examples, form["prompt"], **_DIRECT
        ).then(**run_now)
        self.stop.click(self._stop, self.view, None, **_DIRECT)
        self.view.run_state(
            self._after_change, self.view, [self.generate, self.stop, self.strip], **_DIRECT
        )
        self.view.use_settings(self._use_settings, None, form.outputs, **_DIRECT)
        self.strip.pick(
            self._pick, self.kept, [self.view, self.kept, self.problem, self.strip], **_DIRECT
        )
        form.reuse.click(self._reuse_seed, self.view, [form["seed"], form["seed_mode"]], **_DIRECT)
        form["model"].input(
            lambda model: gr.Dataset(
                samples=example_samples(model), visible=bool(example_samples(model))
            ),
            form["model"],
            self.examples,
            preprocess=False,
            **_DIRECT,
        )

    def restore(self, kept: Any) -> Update:
        """What a freshly loaded page shows: the run and the form it showed before."""
        kept = kept if isinstance(kept, dict) else {}
        run = self.studio.find(str(kept.get("run", "")))
        shown_id = "" if run is None else run.id
        models = model_choices(self.studio)
        updates: Update = {
            self.view: shown_id,
            self.strip: strip_value(self.studio, shown_id),
            **self.form.restore(kept.get("form")),
        }
        model = updates.get(self.form["model"])
        known = any(id == model for _, id in models)
        updates[self.form["model"]] = (
            gr.Dropdown(models, value=model) if known else gr.Dropdown(models)
        )
        return updates

    # ---- handlers

    def _start(self, values: Mapping[Any, Any]) -> Iterator[Update]:
        # The first check of a request imports torch, which takes seconds: say so meanwhile.
        yield {
            self.generate: gr.Button(interactive=False),
            self.problem: gr.HTML(CHECKING, visible=True),
        }
        try:
            with shown():
                fields = self.form.by_name(values)
                request, count = self.form.read(fields)
                run = self.studio.submit(Sheet.seeds(request, count))
        except gr.Error as error:
            yield {
                self.generate: gr.Button(interactive=True),
                self.problem: gr.HTML(problem_markup(error), visible=True),
            }
            raise
        yield {
            self.view: run.id,
            self.kept: {"run": run.id, "form": fields},
            self.problem: gr.HTML("", visible=False),
            self.stop: gr.Button(interactive=True),
        }

    def _stop(self, run_id: str) -> None:
        run = self.studio.find(run_id)
        if run is not None:
            run.stop()

    def _after_change(self, run_id: str) -> Update:
        run = self.studio.find(run_id) if run_id else None
        active = run is not None and not run.snapshot().finished
        return {
            self.generate: gr.Button(interactive=not active),
            self.stop: gr.Button(interactive=active),
            self.strip: strip_value(self.studio, run_id),
        }

    def _pick(self, kept: Any, event: gr.EventData) -> Update:
        run_id = str(event.run)
        return {
            self.view: run_id,
            self.kept: {**(kept if isinstance(kept, dict) else {}), "run": run_id},
            self.problem: gr.HTML("", visible=False),
            self.strip: strip_value(self.studio, run_id),
        }

    def _use_settings(self, event: gr.EventData) -> Update:
        with shown():
            return self.form.fill(Request.from_json(str(event.request)))

    def _reuse_seed(self, run_id: str) -> Update:
        run = self.studio.find(run_id) if run_id else None
        if run is None:
            raise toast("There is no picture yet whose seed could be used again.")
        return {self.form["seed"]: run.requests[0].seed, self.form["seed_mode"]: "fixed"}


def example_samples(model: str) -> list[list[str]]:
    """The preset's example prompts, one a row."""
    return [[prompt] for prompt in model_preset(model).examples]


def problem_markup(error: gr.Error) -> str:
    """The message that stays beside the button until the next try."""
    return f'<p class="cs-problem" role="alert">{error.message}</p>'
