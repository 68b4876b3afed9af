"""One control on the ControlNet tab: its picture, how its map is made, and how strongly it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines import (
    Axis,
    ContactSheetError,
    Control,
    InvalidRequest,
    Studio,
    controlnets,
    preprocessors,
)
from pipelines.axes import parse_values
from pipelines.catalog import ModelInfo
from pipelines.controls import MODES
from pipelines.preprocessors.skeletons import from_json
from presets import example_pictures
from ui.control_menus import parameters_shown, preprocessor_choices, problem_text
from ui.control_state import MapState, Size, editor_shows, map_size, with_edit, with_people
from ui.errors import shown
from ui.grid import script
from ui.map_editor import map_editor, read_edit
from ui.settings import SettingsForm, Update

ANY_MODEL = ""
"""The menu's value that leaves the choice of a ControlNet to the studio."""
MODE_NAMES = {"balanced": "Balanced", "prompt": "Prompt first", "control": "Control first"}
EMPTY = "Map {}: upload a picture, paste one, take one with the camera, or pick an example."
SIZE_FIELDS = ("model", "size", "width", "height")
QUICK: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private", "queue": False}


class ControlPanel:
    """The components of one control and what they mean; `number` counts from 1.

    What decides pictures stands in the form, as `control1_strength` and so on, and stays with it.
    """

    def __init__(self, studio: Studio, form: SettingsForm, number: int) -> None:
        self.studio = studio
        self.form = form
        self.number = number

    def __getitem__(self, name: str) -> Any:
        return self.form[self._name(name)]

    def _name(self, name: str) -> str:
        return f"control{self.number}_{name}"

    # ---- layout

    def add_inputs(self, *, on: bool) -> None:
        """Picture, preprocessor and strength, for the column of the form."""
        parts = self.form.parts
        with gr.Accordion(f"Control {self.number}", open=on) as self.box:
            parts[self._name("on")] = gr.Checkbox(on, label=f"Use control {self.number}")
            parts[self._name("map")] = gr.JSON(MapState().kept(), visible=False)
            self.picture = gr.Image(
                type="filepath", format="png", sources=["upload", "clipboard", "webcam"],
                label=f"Picture {self.number}", height=190, buttons=[],
                elem_id=f"controlnet-picture-{self.number}",
            )  # fmt: skip
            self.examples = gr.Dataset(
                label="Examples", components=[gr.Image(visible=False)], type="index",
                samples=[[str(example.path)] for example in example_pictures()],
                elem_classes="cs-thumbs",
            )  # fmt: skip
            parts[self._name("strength")] = gr.Textbox(
                "1", label=f"Strength {self.number}", info="0 to 2; or several: 0.5, 0.75, 1",
                lines=1,
            )  # fmt: skip
            with gr.Accordion("How it acts", open=False):
                self._add_details()

    def _add_details(self) -> None:
        parts = self.form.parts
        parts[self._name("model")] = gr.Dropdown(
            [("The one that fits the map", ANY_MODEL)], value=ANY_MODEL,
            label=f"ControlNet {self.number}", info="Trained for one kind of map",
        )  # fmt: skip
        with gr.Row():
            for name, label, start in (("start", "From", 0), ("stop", "Until", 1)):
                parts[self._name(name)] = gr.Number(
                    start, label=f"{label} {self.number}", info="Share of the steps",
                    min_width=90, step=0.05,
                )  # fmt: skip
        parts[self._name("mode")] = gr.Radio(
            [(MODE_NAMES[mode], mode) for mode in MODES], value="balanced",
            label=f"Who decides {self.number}", info="Where prompt and map disagree",
        )  # fmt: skip

    def add_editor(self, *, on: bool) -> None:
        """The map and how it is made, for the column of the pictures."""
        with gr.Column(
            visible=on, elem_id=f"controlnet-map-{self.number}", elem_classes="cs-desk"
        ) as self.desk:
            with gr.Row(elem_classes="cs-desk-head"):
                self.preprocessor = gr.Dropdown(
                    preprocessor_choices(), value=MapState().preprocessor,
                    label=f"Map {self.number}", info="What is taken from the picture",
                    scale=0, min_width=270,
                )  # fmt: skip
                self.parameters = gr.HTML(
                    parameters_shown(MapState()), elem_id=f"controlnet-parameters-{self.number}",
                    html_template='<div class="cs-parameters"></div>',
                    js_on_load=script("parameters.js"), apply_default_css=False,
                )  # fmt: skip
            self.problem = gr.HTML(visible=False)
            self.editor = map_editor(
                elem_id=f"controlnet-editor-{self.number}", empty=EMPTY.format(self.number)
            )

    def connect(self) -> None:
        """Wire it; the form must have its settings by now."""
        sizes = [self.form[name] for name in SIZE_FIELDS]
        seen = {self["map"], *sizes}
        outputs = [self["map"], self.parameters, self.editor, self.problem]
        raw: dict[str, Any] = {"preprocess": False, **QUICK}
        for event in (self.picture.input, self.picture.clear):
            event(
                self._take, {self.picture, *seen},
                [self.picture, self["on"], *outputs, self.desk], **raw,
            )  # fmt: skip
        self.examples.click(
            self._example, {self.examples, self.form["prompt"], *seen},
            [self.form["prompt"], self["on"], self["map"], *self.outputs], **raw,
        )  # fmt: skip
        self.preprocessor.input(self._choose, {self.preprocessor, *seen}, outputs, **raw)
        # Gradio drops what comes while an answer is awaited, unless it is told not to.
        every: dict[str, Any] = {**raw, "trigger_mode": "multiple"}
        self.parameters.set_parameters(self._set, seen, outputs, **every)
        self.editor.edited(self._edit, seen, self["map"], **every)
        for field in sizes:
            field.input(self._resize, seen, outputs, **raw)
        self["on"].input(lambda on: gr.Column(visible=on), self["on"], self.desk, **raw)

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills, beyond the form."""
        return [
            self.picture, self.preprocessor, self.parameters, self.editor, self.problem, self.desk,
        ]  # fmt: skip

    # ---- meaning

    def control(
        self, fields: Mapping[str, Any], nets: Sequence[ModelInfo]
    ) -> tuple[Control, tuple[float, ...]] | None:
        """The control that the form asks for and its strengths; None if it is off.

        Args:
            nets: the ControlNets that fit the model.

        Raises: ContactSheetError: for the first value that is not possible.
        """
        given = {name: fields[self._name(name)] for name in ("on", "map", "model", "mode")}
        if not given["on"]:
            return None
        state = MapState.read(given["map"], self.studio)
        if state.image is None:
            raise InvalidRequest(
                f"control {self.number} has no picture; upload one, pick an example, "
                "or switch the control off"
            )
        strengths = parse_values("control_strength", str(fields[self._name("strength")]))
        control = Control(
            **state.source,
            model=given["model"] or self._net(state, nets),
            strength=strengths[0],
            start=fields[self._name("start")],
            stop=fields[self._name("stop")],
            mode=given["mode"],
        )
        return control, tuple(float(value) for value in strengths)

    def _net(self, state: MapState, nets: Sequence[ModelInfo]) -> str:
        try:
            return controlnets.choose(state.like or state.preprocessor, "", nets)
        except InvalidRequest:
            raise InvalidRequest(
                f"which ControlNet follows map {self.number} is not clear; choose one: "
                f"{', '.join(info.id for info in nets)}"
            ) from None

    def axis(self, place: int, strengths: tuple[float, ...]) -> Axis:
        """The axis of several strengths, for a control that is the place-th of its Request."""
        number = "" if place == 0 else place + 1
        return Axis(field=f"control{number}_strength", values=strengths)

    def fill(self, control: Control | None) -> Update:
        """The form filled from a Request's control; None switches it off."""
        if control is None:
            return {self["on"]: False, self.desk: gr.Column(visible=False)}
        return {
            self["on"]: True,
            self["model"]: control.model or ANY_MODEL,
            self["strength"]: f"{control.strength:g}",
            self["start"]: control.start,
            self["stop"]: control.stop,
            self["mode"]: control.mode,
        }

    def show(self, state: MapState, size: Size, *, on: bool) -> Update:
        """The picture, its map and all that belongs to it."""
        return {
            self["on"]: on,
            self.desk: gr.Column(visible=on),
            self.preprocessor: state.preprocessor,
            self.picture: None if state.image is None else self.studio.picture(state.image),
            **self._map(state, size),
        }

    # ---- handlers

    def _seen(self, values: Mapping[Any, Any]) -> tuple[MapState, Size]:
        fields = {name: values[self.form[name]] for name in SIZE_FIELDS}
        return MapState.read(values[self["map"]], self.studio), map_size(self.studio, fields)

    def _map(self, state: MapState, size: Size) -> Update:
        """State and editor; why there is no map stands in the editor's place."""
        problem, value = "", None
        with shown():
            try:
                value = editor_shows(state, size, self.studio)
                if state.image is not None and state.edited is None:
                    problem = preprocessors.problem(state.preprocessor) or ""
            except ContactSheetError as error:
                problem = str(error)
        return {
            self["map"]: state.kept(),
            self.parameters: parameters_shown(state),
            self.editor: value,
            self.problem: gr.HTML(problem_text(problem), visible=bool(problem)),
        }

    def _take(self, values: Mapping[Any, Any]) -> Update:
        state, size = self._seen(values)
        file = values[self.picture]
        if file is None:
            return self._map(state.remade(image=None), size)
        try:
            image = self.studio.add_picture(Path(file["path"]).read_bytes())
        except ContactSheetError as error:
            refused = {
                self.picture: None,
                self.problem: gr.HTML(problem_text(str(error)), visible=True),
            }
            return {**self._map(state.remade(image=None), size), **refused}
        on = {self["on"]: True, self.desk: gr.Column(visible=True)}
        return {**self._map(state.remade(image=image), size), **on}

    def _example(self, values: Mapping[Any, Any]) -> Update:
        state, size = self._seen(values)
        example = example_pictures()[int(values[self.examples])]
        image = self.studio.add_picture(example.path)
        state = MapState(image=image, preprocessor=example.preprocessor, like=example.like)
        people = example.skeletons_text()
        if people is not None:
            state = with_people(state, tuple(from_json(people)), size, self.studio)
        prompt = values[self.form["prompt"]] or example.prompt
        return {self.form["prompt"]: prompt, **self.show(state, size, on=True)}

    def _choose(self, values: Mapping[Any, Any]) -> Update:
        state, size = self._seen(values)
        name = str(values[self.preprocessor])
        with shown():
            preprocessors.describe(name)
        return self._map(state.remade(preprocessor=name, parameters={}), size)

    def _set(self, values: Mapping[Any, Any], event: gr.EventData) -> Update:
        state, size = self._seen(values)
        try:
            parameters = preprocessors.check_parameters(state.preprocessor, dict(event.values))
        except ContactSheetError as error:
            return {self.problem: gr.HTML(problem_text(str(error)), visible=True)}
        return self._map(state.remade(parameters=parameters), size)

    def _resize(self, values: Mapping[Any, Any]) -> Update:
        state, size = self._seen(values)
        if state.skeletons is not None:
            state = with_people(state, state.skeletons, size, self.studio)
        return self._map(state, size)

    def _edit(self, values: Mapping[Any, Any], event: gr.EventData) -> Update:
        state, size = self._seen(values)
        with shown():
            return {self["map"]: with_edit(state, read_edit(event), size, self.studio).kept()}
