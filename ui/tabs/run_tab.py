"""What every tab has that makes pictures: a form, Generate and Stop, the run, recent runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines import ContactSheetError, Request, Sheet, Studio
from pipelines.rendering.run_executor import Plan
from ui.errors import shown, toast
from ui.events import DIRECT, QUIET, RAW, Update, Values
from ui.form.choices import model_choices
from ui.form.fields import Parts
from ui.form.run_limits import check_cells, needs_asking
from ui.form.settings_form import SettingsForm
from ui.run_view.component import run_strip, run_view, strip_value
from ui.run_view.snapshot_json import duration

NO_MODEL = (
    "No model found. Put a diffusers model folder (one with a model_index.json), a .safetensors "
    "checkpoint or a .gguf file into the models folder and press Refresh models."
)
CHECKING = '<p class="cs-note cs-later" role="status">Getting ready to start…</p>'


class RunTab:
    """A tab's components and handlers. Runs live in the studio; the tab only shows them.

    A tab sets the class attributes, adds its own inputs and says which sheet they ask for.
    """

    id: str
    empty: str
    """What stands where the run will be."""
    forecasts = True
    """Whether the cost is shown before the run."""
    sends = True
    """Whether its pictures can be sent to the text-to-image tab."""
    replaced: tuple[str, ...] = ()
    """Settings that the tab's own inputs stand for; the form does not show them."""

    def __init__(self, studio: Studio, kept: gr.BrowserState) -> None:
        self.studio = studio
        self.kept = kept
        self.form = SettingsForm(self.id)
        with gr.Row(elem_id=f"{self.id}-tab", elem_classes="cs-tab"):
            with gr.Column(scale=1, min_width=280, elem_classes="cs-form"):
                self._add_inputs()
            with gr.Column(scale=2, min_width=400):
                self.add_above_run()
                self.view = run_view(
                    studio,
                    elem_id=f"{self.id}-run",
                    empty=self.empty if model_choices(studio) else NO_MODEL,
                    sends=self.sends,
                    steers=True,
                )
                self.add_below_run()
                gr.Markdown("## Recent runs", elem_classes="cs-heading")
                self.strip = run_strip(elem_id=f"{self.id}-recent")
        self._connect()

    def _add_inputs(self) -> None:
        form = self.form
        form.add_prompts()
        form.add(self.add_own_inputs())
        self.forecast = gr.HTML(elem_id=f"{self.id}-forecast", visible=False)
        with gr.Row():
            self.generate = gr.Button(
                "Generate", variant="primary", elem_id=f"{self.id}-generate", min_width=90
            )
            self.stop = gr.Button(
                "Stop", variant="stop", interactive=False, elem_id=f"{self.id}-stop", min_width=90
            )
        self.problem = gr.HTML(elem_id=f"{self.id}-problem", visible=False)
        # Not a gr.State: with one, Gradio holds a stream to every page open.
        self.waiting = gr.JSON(None, visible=False)
        with gr.Group(visible=False, elem_id=f"{self.id}-confirm") as self.confirm:
            self.question = gr.HTML(elem_classes="cs-question")
            with gr.Row():
                self.confirmed = gr.Button("Make them all", variant="primary", min_width=90)
                self.declined = gr.Button("Not now", min_width=90)
        self.add_examples()
        form.add_settings(self.studio)
        for name in self.replaced:
            form[name].visible = False

    @classmethod
    def keeper(cls) -> gr.BrowserState:
        """What the browser keeps: the id of the run it shows, and the form of its last run.

        It must stand outside the tab: what is in a tab that is not open is not in the page, and
        would not be read back from the browser.
        """
        return gr.BrowserState({}, storage_key=f"contact-sheet-{cls.id}", secret=cls.id)

    # ---- what a tab may add

    def add_own_inputs(self) -> Parts:
        """Add inputs between the prompts and the buttons; those that a run needs, by name."""
        return {}

    def add_examples(self) -> None:
        """Examples below the buttons."""

    def add_above_run(self) -> None:
        """What stands above the pictures."""

    def add_below_run(self) -> None:
        """What stands below the pictures."""

    def connect(self, run_now: Mapping[str, Any]) -> None:
        """Wire the tab's own components. `run_now`: arguments of the event that starts a run."""

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        """What the form asks for. Raises: ContactSheetError: for the first bad value."""
        raise NotImplementedError

    def fill(self, request: Request) -> Update:
        """The form filled with a Request's settings."""
        return self.form.fill(request)

    @property
    def inputs(self) -> set[Component]:
        """What a run is started from: the form, and what `fields` reads besides."""
        return self.form.inputs

    def fields(self, values: Values) -> dict[str, Any]:
        """The form's fields when a run starts, from the values of `inputs`.

        Raises: ContactSheetError.
        """
        return self.form.by_name(values)

    @property
    def filled(self) -> Sequence[Block]:
        """What `fill` and `restore` change, besides the run."""
        return self.form.outputs

    # ---- shared

    def asked(self, fields: Mapping[str, Any]) -> Sheet:
        """`sheet`, within the page's limit. Raises: ContactSheetError."""
        sheet = self.sheet(fields)
        check_cells(sheet)
        return sheet

    def first_model(self) -> str:
        models = model_choices(self.studio)
        return models[0][1] if models else str(Request.model_fields["model"].default)

    def _connect(self) -> None:
        form, start = self.form, self._start
        asking = [self.waiting, self.confirm, self.question]
        results = [self.view, self.kept, self.problem, self.generate, self.stop, *asking]
        run_now: dict[str, Any] = {
            "fn": start, "inputs": self.inputs, "outputs": results, "preprocess": False,
            "concurrency_limit": None, "trigger_mode": "once", **QUIET,
        }  # fmt: skip
        self.generate.click(**run_now)
        self.connect(run_now)
        self.confirmed.click(
            self._start_confirmed, self.waiting, results, trigger_mode="once",
            concurrency_limit=None, **QUIET,
        )  # fmt: skip
        self.declined.click(self._decline, None, [self.generate, *asking], **DIRECT)
        if self.forecasts:
            gr.on(
                form.changes, self._forecast, form.inputs,
                self.forecast, trigger_mode="always_last", **RAW,
            )  # fmt: skip
        self.stop.click(self._stop, self.view, None, **DIRECT)
        self.view.run_state(
            self._after_change, self.view, [self.generate, self.stop, self.strip], **DIRECT
        )
        self.view.use_settings(self._use_settings, None, self.filled, **DIRECT)
        self.strip.pick(
            self._pick, self.kept, [self.view, self.kept, self.problem, self.strip], **DIRECT
        )
        form.reuse.click(self._reuse_seed, self.view, [form["seed"], form["seed_mode"]], **DIRECT)

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

    def _forecast(self, values: Values) -> Any:
        """One line on what the sheet will cost; what is wrong with it is said when it is run."""
        try:
            plan = self.studio.plan(self.asked(self.form.by_name(values)))
        except ContactSheetError:
            return gr.HTML(visible=False)
        return gr.HTML(f'<p class="cs-note">{plan_line(plan)}</p>', visible=True)

    def _start(self, values: Values) -> Iterator[Update]:
        with shown():
            fields = self.fields(values)
        yield from self._begin(fields, asked=False)

    def _start_confirmed(self, fields: Mapping[str, Any] | None) -> Iterator[Update]:
        if fields is not None:
            yield from self._begin(fields, asked=True)

    def _decline(self) -> Update:
        return {self.generate: gr.Button(interactive=True), **self._ask(None, "")}

    def _begin(self, fields: Mapping[str, Any], *, asked: bool) -> Iterator[Update]:
        """Start what a form asks for; a large run is asked about first, unless it was."""
        # The first check of a request imports torch, which takes seconds: say so meanwhile.
        yield {
            self.generate: gr.Button(interactive=False),
            self.problem: gr.HTML(CHECKING, visible=True),
            **self._ask(None, ""),
        }
        try:
            with shown():
                sheet = self.asked(fields)
                plan = None if asked else self.studio.plan(sheet)
                if plan is not None and needs_asking(plan):
                    # What is confirmed is what was asked about, whatever happens to the form.
                    yield {
                        self.generate: gr.Button(interactive=True),
                        self.problem: gr.HTML("", visible=False),
                        **self._ask(fields, f"This is a large run: {plan_line(plan)}. Make it?"),
                    }
                    return
                run = self.studio.submit(sheet)
        except gr.Error as error:
            yield {
                self.generate: gr.Button(interactive=True),
                self.problem: gr.HTML(problem_markup(error), visible=True),
            }
            raise
        yield {
            self.view: run.id,
            self.kept: {"run": run.id, "form": dict(fields)},
            self.problem: gr.HTML("", visible=False),
            self.stop: gr.Button(interactive=True),
        }

    def _ask(self, fields: Mapping[str, Any] | None, question: str) -> Update:
        """The question before a large run, and what it is about; None takes it away."""
        return {
            self.waiting: None if fields is None else dict(fields),
            self.confirm: gr.Group(visible=fields is not None),
            self.question: f'<p class="cs-question-text" role="alert">{question}</p>',
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
            return self.fill(Request.from_json(str(event.request)))

    def _reuse_seed(self, run_id: str) -> Update:
        run = self.studio.find(run_id) if run_id else None
        if run is None:
            raise toast("There is no picture yet whose seed could be used again.")
        return {self.form["seed"]: run.requests[0].seed, self.form["seed_mode"]: "fixed"}


def plan_line(plan: Plan) -> str:
    """A plan in words, such as `12 cells, 3 made before · 450 rows · about 9 s`."""
    cells = "1 cell" if plan.cells == 1 else f"{plan.cells} cells"
    if plan.cached == plan.cells:
        return f"{cells}, all made before"
    parts = [cells + (f", {plan.cached} made before" if plan.cached else "")]
    parts.append(f"up to {plan.rows:,} denoiser rows")
    if plan.seconds is not None:
        parts.append(f"about {duration(plan.seconds)}")
    return " · ".join(parts)


def problem_markup(error: gr.Error) -> str:
    """The message that stays beside the button until the next try."""
    return f'<p class="cs-problem" role="alert">{error.message}</p>'
