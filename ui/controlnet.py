"""The ControlNet tab: a picture's edges, pose or depth steer what a prompt makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines import Axis, ContactSheetError, Control, InvalidRequest, Request, Sheet
from ui.control_panel import ANY_MODEL, SIZE_FIELDS, ControlPanel
from ui.control_result import ControlResult
from ui.control_state import MapState, map_size
from ui.menus import CUSTOM_SIZE
from ui.run_tab import DIRECT, RunTab
from ui.settings import Update

CONTROLS = 2
NO_CONTROLNET = (
    "No ControlNet for this model is here, so nothing can be generated with these maps yet; they "
    "can be made and edited. Put the folder of one (config.json and a .safetensors file) into the "
    "models folder and reload this page. For SD 1.5: <code>hf download "
    "lllyasviel/control_v11p_sd15_canny --local-dir models/control_v11p_sd15_canny</code>"
)


class ControlNet(RunTab):
    """One Request with one or two controls; strengths may be several, seeds too."""

    id = "controlnet"
    empty = (
        "No picture yet. Give control 1 a picture, edit its map if you like, type a prompt and "
        "press Generate."
    )

    forecasts = True

    def add_own_inputs(self) -> None:
        self.missing = gr.HTML(elem_id="controlnet-missing", visible=False)
        self.panels = [ControlPanel(self.studio, self.form, i + 1) for i in range(CONTROLS)]
        for i, panel in enumerate(self.panels):
            panel.add_inputs(on=i == 0)

    def add_above_run(self) -> None:
        for i, panel in enumerate(self.panels):
            panel.add_editor(on=i == 0)

    def add_below_run(self) -> None:
        self.result = ControlResult(self.studio, self.view)

    def connect(self, run_now: Mapping[str, Any]) -> None:
        for panel in self.panels:
            panel.connect()
        self.form["model"].input(
            self._models, [self.form["model"], *(panel["model"] for panel in self.panels)],
            [self.missing, *(panel["model"] for panel in self.panels)], preprocess=False, **DIRECT,
        )  # fmt: skip
        self.result.connect({panel["map"] for panel in self.panels})

    @property
    def filled(self) -> list[Any]:
        extra = [component for panel in self.panels for component in panel.outputs]
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
            seeds = tuple(range(request.seed, request.seed + count))
            axes.append(Axis(field="seed", values=seeds))
        return Sheet(base=request.replace(controls=tuple(controls)), axes=tuple(axes))

    def restore(self, kept: Any) -> Update:
        updates = super().restore(kept)
        fields = {name: _value(updates, self.form[name]) for name in SIZE_FIELDS}
        for panel in self.panels:
            if panel["map"] in updates:
                state = MapState.read(updates[panel["map"]], self.studio)
                on = bool(_value(updates, panel["on"]))
                updates |= panel.show(state, map_size(self.studio, fields), on=on)
        return updates | self._missing(str(fields["model"]), updates)

    def fill(self, request: Request) -> Update:
        updates = super().fill(request)
        for i, panel in enumerate(self.panels):
            control = request.controls[i] if i < len(request.controls) else None
            updates |= panel.fill(control)
            if control is not None:
                state = MapState.of(control)
                size = map_size(self.studio, {**request.model_dump(), "size": CUSTOM_SIZE})
                updates |= panel.show(state, size, on=True)
        return updates | self._missing(request.model, updates)

    # ---- handlers

    def take(self, values: Mapping[Any, Any], run_id: str, cell: int) -> Update:
        """The form with a run's picture as what steers, in place of its first control's.

        Raises: InvalidRequest: if there is no such picture.
        """
        run = self.studio.find(run_id)
        cells = () if run is None else run.snapshot().cells
        file = cells[cell].file if 0 <= cell < len(cells) else None
        if file is None:
            raise InvalidRequest("this picture is gone; make it again")
        fields = self.form.by_name(values)
        panel = self.panels[0]
        old = MapState.read(fields["control1_map"], self.studio)
        state = old.remade(image=self.studio.add_picture(file))
        prompt = fields["prompt"] or cells[cell].request.prompt
        return {
            self.form["prompt"]: prompt,
            **panel.show(state, map_size(self.studio, fields), on=True),
        }

    def _missing(self, model: str, updates: Mapping[Any, Any]) -> Update:
        chosen = [_value(updates, panel["model"]) for panel in self.panels]
        note, *menus = self._models(model, *chosen)
        menus_of = (panel["model"] for panel in self.panels)
        return {self.missing: note, **dict(zip(menus_of, menus, strict=True))}

    def _models(self, model: str, *chosen: Any) -> list[Any]:
        """Whether there is a ControlNet for a model, and the menus of them."""
        try:
            ids = [info.id for info in self.studio.controlnets(model)]
        except ContactSheetError:
            ids = []
        choices = [("The one that fits the map", ANY_MODEL), *((id, id) for id in ids)]
        note = gr.HTML(f'<p class="cs-note">{NO_CONTROLNET}</p>', visible=not ids)
        return [
            note,
            *(gr.Dropdown(choices, value=one if one in ids else ANY_MODEL) for one in chosen),
        ]


def _value(updates: Mapping[Any, Any], component: Any) -> Any:
    """A component's value after updates, or as the page starts with it."""
    update = updates.get(component)
    if isinstance(update, Component):  # inside a handler these are no more than their arguments
        update = update.constructor_args.get("value")
    return component.value if update is None else update
