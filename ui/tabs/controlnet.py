"""ControlNet tab: a picture's edges, pose or depth steer what a prompt makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines import Axis, Control, InvalidRequest, Request, Sheet
from ui.control_editor.availability import Offer, missing_text
from ui.control_editor.inputs import build_inputs
from ui.control_editor.map_widgets import build_map_widgets
from ui.control_editor.panel import ControlPanel
from ui.control_editor.result_view import ControlResult
from ui.events import DIRECT, RAW, Update, Values
from ui.form.fields import Parts
from ui.tabs.run_tab import RunTab

NUMBERS = (1, 2)
"""Of the controls that the tab has."""
# The form as it is, kept by the browser at every change: maps may be edited long before a run.
KEEP_DRAFT = """(kept, ...values) => {
  const draft = Object.fromEntries(%s.map((name, i) => [name, values[i]]));
  return { ...kept, draft };
}"""


class ControlNet(RunTab):
    """ControlNet tab: one Request with one or two controls; strengths may be several, seeds too."""

    id = "controlnet"
    empty = (
        "No picture yet. Give control 1 a picture, edit its map if you like, type a prompt and "
        "press Generate."
    )

    forecasts = True

    def add_own_inputs(self) -> Parts:
        self.missing = gr.HTML(elem_id="controlnet-missing", visible=False)
        self.controls = [build_inputs(number, on=number == 1) for number in NUMBERS]
        return {name: part for one in self.controls for name, part in one.parts.items()}

    def add_above_run(self) -> None:
        self.panels = [
            ControlPanel(
                self.studio, self.form, inputs,
                build_map_widgets(inputs.fields.number, on=inputs.fields.number == 1),
            )
            for inputs in self.controls
        ]  # fmt: skip

    def add_below_run(self) -> None:
        self.result = ControlResult(self.studio, self.view)

    def connect(self, run_now: Mapping[str, Any]) -> None:
        for panel in self.panels:
            panel.connect()
        menus = [menu for one in self.controls for menu in (one.model, one.mode)]
        kinds = [panel.widgets.preprocessor for panel in self.panels]
        self.form["model"].input(
            self._another_model, {self.form["model"], *menus}, [self.missing, *menus, *kinds],
            **RAW,
        )  # fmt: skip
        self.result.connect()
        keep: dict[str, Any] = {
            "fn": None, "inputs": [self.kept, *self.form.outputs], "outputs": self.kept,
            "js": KEEP_DRAFT % json.dumps(list(self.form.parts)), **DIRECT,
        }  # fmt: skip
        gr.on(self.form.changes, **keep)
        self.view.run_state(**keep)  # what a run's start keeps may be older than what is here

    @property
    def inputs(self) -> set[Component]:
        return super().inputs | {panel.widgets.editor for panel in self.panels}

    def fields(self, values: Values) -> dict[str, Any]:
        fields = super().fields(values)
        for panel in self.panels:
            # What is drawn counts, also what was drawn a moment ago and has not arrived yet.
            fields |= panel.edited(fields, values[panel.widgets.editor])
        return fields

    @property
    def filled(self) -> Sequence[Block]:
        extra = [component for panel in self.panels for component in panel.beyond_form]
        return [*super().filled, *extra, self.missing]

    # ---- meaning

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        request, count = self.form.read(fields)
        nets = self.studio.controlnets(request.model)
        if not nets:
            raise InvalidRequest(
                f"no ControlNet here fits {request.model!r}; put one into the models folder and "
                "reload this page (python app.py models lists what is there)"
            )
        controls: list[Control] = []
        axes: list[Axis] = []
        for panel in self.panels:
            found = panel.control(fields, nets)
            if found is None:
                continue
            control, strengths = found
            if len(strengths) > 1:
                axes.append(panel.axis(len(controls), strengths))
            controls.append(control)
        if not controls:
            raise InvalidRequest(
                "no control is on; switch one on, or use the text-to-image tab without"
            )
        if count > 1:
            request = request.with_seed(count)
            seeds = tuple(range(request.seed, request.seed + count))
            axes.append(Axis(field="seed", values=seeds))
        return Sheet(base=request.replace(controls=tuple(controls)), axes=tuple(axes))

    def restore(self, kept: Any) -> Update:
        kept = kept if isinstance(kept, dict) else {}
        draft = kept.get("draft")
        usable = bool(self.form.restore(draft))
        updates = super().restore({**kept, "form": draft if usable else kept.get("form")})
        if not usable and isinstance(draft, dict):
            # Something is half typed; that is no reason to lose a map.
            own = [name for one in self.controls for name in one.fields.names if name in draft]
            updates |= {self.form[name]: draft[name] for name in own}
        return updates | self._shown(updates)

    def fill(self, request: Request) -> Update:
        updates = super().fill(request)
        for i, panel in enumerate(self.panels):
            updates |= panel.fill(request.controls[i] if i < len(request.controls) else None)
        return updates | self._shown(updates)

    # ---- handlers

    def take(self, values: Values, run_id: str, cell: int) -> Update:
        """Fill the form with a run's picture as the source, in place of its first control's.

        Raises: InvalidRequest: if there is no such picture.
        """
        run = self.studio.find(run_id)
        cells = () if run is None else run.snapshot().cells
        file = cells[cell].file if 0 <= cell < len(cells) else None
        if file is None:
            raise InvalidRequest("this picture is gone; make it again")
        panel = self.panels[0]
        settings = panel.settings(values).remade(image=self.studio.add_picture(file))
        prompt = values[self.form["prompt"]] or cells[cell].request.prompt
        return {self.form["prompt"]: prompt, **panel.show(settings, on=True)}

    def _shown(self, updates: Update) -> Update:
        """Maps, menus and notes that go with updates of the form, or with what it starts with."""
        values = {part: _value(updates, part) for part in self.form.parts.values()}
        shown = self._another_model(values)
        for panel in self.panels:
            if panel.inputs.map in updates:
                shown |= panel.show(panel.settings(values), on=bool(values[panel.inputs.on]))
        return shown

    def _another_model(self, values: Values) -> Update:
        """Whether there is a ControlNet for the form's model, and the menus of what it offers."""
        offer = Offer.of(self.studio, str(values[self.form["model"]]))
        text = f'<p class="cs-note">{missing_text(offer)}</p>'
        updates: Update = {self.missing: gr.HTML(text, visible=not offer.nets)}
        for panel in self.panels:
            inputs = panel.inputs
            updates |= panel.offer(offer, values[inputs.model], values[inputs.mode])
        return updates


def _value(updates: Update, component: Component) -> Any:
    """A component's value after updates, or as the page starts with it."""
    update = updates.get(component)
    if isinstance(update, Component):  # inside a handler these are no more than their arguments
        update = update.constructor_args.get("value")
    return component.value if update is None else update
