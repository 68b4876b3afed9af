"""Run tab: the form, the buttons, the run and the recent runs of every tab that makes pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines import ContactSheetError, InvalidRequest, Request, Sheet, Studio
from pipelines.rendering.run_plan import RunPlan
from ui.blocks import check_value
from ui.errors import shown, toast
from ui.events import DIRECT, QUIET, RAW, RunEvent, SettingsEvent, Update, Values
from ui.form.choices import model_choices
from ui.form.fields import Parts
from ui.form.run_limits import check_cells, is_forecast, needs_asking
from ui.form.settings_form import SettingsForm
from ui.run_view.component import run_strip, run_view, strip_value
from ui.tabs.run_buttons import build_run_buttons

SKIP_MISFITS = "skip_misfits"
"""The input, where a tab has one, that leaves out combinations which cannot be made."""
NO_MODEL = (
    "No model found. Put a diffusers model folder (one with a model_index.json), a .safetensors "
    "checkpoint or a .gguf file into the models folder and press Refresh models."
)


class RunTab:
    """Tab that makes pictures. Runs live in the studio; the tab only starts and shows them.

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
        self.buttons = build_run_buttons(self.id)
        self.add_examples()
        form.add_settings(self.studio)
        for name in self.replaced:
            form[name].visible = False

    @classmethod
    def keeper(cls) -> gr.BrowserState:
        """Browser storage: the id of the run that is shown, and the form of the last run.

        It must stand outside the tab: what is in a tab that is not open is not in the page, and
        would not be read back from the browser.
        """
        return gr.BrowserState({}, storage_key=f"contact-sheet-{cls.id}", secret=cls.id)

    # ---- what a tab may add

    def add_own_inputs(self) -> Parts:
        """Add inputs between the prompts and the buttons; those that a run needs, by name."""
        return {}

    def add_examples(self) -> None:
        """Add examples below the buttons."""

    def add_above_run(self) -> None:
        """Add what stands above the pictures."""

    def add_below_run(self) -> None:
        """Add what stands below the pictures."""

    def connect(self, run_now: Mapping[str, Any]) -> None:
        """Wire the tab's own components. `run_now`: arguments of the event that starts a run."""

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        """Read the sheet that the form asks for.

        Raises: ContactSheetError: for the first bad value.
        """
        raise NotImplementedError

    def fill(self, request: Request) -> Update:
        """Fill the form with a Request's settings."""
        return self.form.fill(request)

    @property
    def inputs(self) -> set[Component]:
        """What a run is started from: the form, and what `fields` reads besides."""
        return self.form.inputs

    def fields(self, values: Values) -> dict[str, Any]:
        """Read the form's fields when a run starts, from the values of `inputs`.

        Raises: ContactSheetError.
        """
        return self.form.by_name(values)

    @property
    def filled(self) -> Sequence[Block]:
        """What `fill` and `restore` change, besides the run."""
        return self.form.outputs

    # ---- shared

    def asked(self, fields: Mapping[str, Any]) -> Sheet:
        """Read the sheet, within the page's limit. Raises: ContactSheetError."""
        sheet = self.sheet(fields)
        check_cells(sheet)
        return sheet

    def planned(self, sheet: Sheet, fields: Mapping[str, Any]) -> RunPlan:
        """Check a sheet as the form asks, and what it costs. Raises: ContactSheetError."""
        return self.studio.plan(sheet, skip_misfits=bool(fields.get(SKIP_MISFITS)))

    def first_model(self) -> str:
        """Name the model that the form opens with."""
        models = model_choices(self.studio)
        return models[0][1] if models else str(Request.model_fields["model"].default)

    def _connect(self) -> None:
        form, buttons = self.form, self.buttons
        results = [self.view, self.kept, *buttons.outputs]
        run_now: dict[str, Any] = {
            "fn": self._start, "inputs": self.inputs, "outputs": results, "preprocess": False,
            "concurrency_limit": None, "trigger_mode": "once", **QUIET,
        }  # fmt: skip
        buttons.generate.click(**run_now)
        self.connect(run_now)
        buttons.confirmed.click(
            self._start_confirmed, buttons.waiting, results, trigger_mode="once",
            concurrency_limit=None, **QUIET,
        )  # fmt: skip
        buttons.declined.click(buttons.dismissed, None, buttons.outputs, **DIRECT)
        if self.forecasts:
            gr.on(
                form.changes, self._forecast, form.inputs,
                buttons.forecast, trigger_mode="always_last", **RAW,
            )  # fmt: skip
        buttons.stop.click(self._stop, self.view, None, **DIRECT)
        self.view.run_state(
            self._after_change, self.view, [buttons.generate, buttons.stop, self.strip], **DIRECT
        )
        self.view.use_settings(self._use_settings, None, self.filled, **DIRECT)
        self.strip.pick(
            self._pick, self.kept, [self.view, self.kept, buttons.problem, self.strip], **DIRECT
        )
        form.reuse.click(self._reuse_seed, self.view, [form["seed"], form["seed_mode"]], **DIRECT)

    def restore(self, kept: Any) -> Update:
        """Restore the run and the form that this browser showed before."""
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
            fields = self.form.by_name(values)
            sheet = self.asked(fields)
            cost = self.planned(sheet, fields).cost if is_forecast(sheet) else None
        except ContactSheetError:
            cost = None
        return self.buttons.forecast_of(cost)

    def _start(self, values: Values) -> Iterator[Update]:
        with shown():
            fields = self.fields(values)
        yield from self._begin(fields, asked=False)

    def _start_confirmed(self, fields: Mapping[str, Any] | None) -> Iterator[Update]:
        if fields is not None:
            self._check_kept(fields)
            yield from self._begin(fields, asked=True)

    def _check_kept(self, fields: Any) -> None:
        """Check the fields that a question was about: they come back from the browser."""
        parts = self.form.parts
        if not isinstance(fields, dict) or set(fields) != set(parts):
            raise InvalidRequest("the settings of this question are gone; press Generate again")
        for name, value in fields.items():
            check_value(parts[name], value, name)

    def _begin(self, fields: Mapping[str, Any], *, asked: bool) -> Iterator[Update]:
        """Start what a form asks for; a large run is asked about first, unless it was."""
        # The first check of a request imports torch, which takes seconds: say so meanwhile.
        yield self.buttons.checking()
        try:
            with shown():
                plan = self.planned(self.asked(fields), fields)
                if not asked and needs_asking(plan.cost):
                    yield self.buttons.asking(fields, plan.cost)
                    return
                run = self.studio.submit(plan)
        except gr.Error as error:
            yield self.buttons.refused(error.message)
            raise
        yield {
            self.view: run.id,
            self.kept: {"run": run.id, "form": dict(fields)},
            **self.buttons.started(),
        }

    def _stop(self, run_id: str) -> None:
        run = self.studio.find(run_id)
        if run is not None:
            run.stop()

    def _after_change(self, run_id: str) -> Update:
        run = self.studio.find(run_id) if run_id else None
        active = run is not None and not run.snapshot().finished
        return {
            **self.buttons.running(active),
            self.strip: strip_value(self.studio, run_id),
        }

    def _pick(self, kept: Any, event: RunEvent) -> Update:
        run_id = event.run
        return {
            self.view: run_id,
            self.kept: {**(kept if isinstance(kept, dict) else {}), "run": run_id},
            **self.buttons.without_problem(),
            self.strip: strip_value(self.studio, run_id),
        }

    def _use_settings(self, event: SettingsEvent) -> Update:
        with shown():
            return self.fill(Request.from_json(event.request))

    def _reuse_seed(self, run_id: str) -> Update:
        run = self.studio.find(run_id) if run_id else None
        if run is None:
            raise toast("There is no picture yet whose seed could be used again.")
        return {self.form["seed"]: str(run.requests[0].seed), self.form["seed_mode"]: "fixed"}
