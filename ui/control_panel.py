"""One control on the ControlNet tab: its picture, how its map is made, and how strongly it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines import Axis, ContactSheetError, Control, Studio, preprocessors
from pipelines.catalog import ModelInfo
from pipelines.controls import MODES
from pipelines.preprocessors.skeletons import from_json
from presets import example_pictures
from ui.control_menus import (
    FIRST_NET,
    mode_choices,
    net_choices,
    parameters_shown,
    preprocessor_choices,
    problem_text,
)
from ui.control_offer import ANY_MODEL, Offer, followed_by
from ui.control_read import FIELDS, read_control
from ui.control_state import MapState, Size, editor_shows, map_size, with_edit, with_people
from ui.errors import shown
from ui.grid import script
from ui.map_editor import map_editor, read_edit, shown_edit
from ui.settings import SettingsForm, Update

EMPTY = "Map {}: upload a picture, paste one, take one with the camera, or pick an example."
SIZE_FIELDS = ("model", "size", "width", "height")
QUICK: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private", "queue": False}
# An edit must not overtake the one before it, nor be dropped while that is on its way.
IN_TURN: dict[str, Any] = {
    **QUICK, "show_progress": "hidden", "queue": True, "concurrency_limit": 1,
    "trigger_mode": "multiple",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What the form says that a map, and the words about it, depend on."""

    state: MapState
    size: Size
    model: str
    net: str = ANY_MODEL


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
            [FIRST_NET], value=ANY_MODEL,
            label=f"ControlNet {self.number}", info="Trained for one kind of map",
        )  # fmt: skip
        with gr.Row():
            for name, label, start in (("start", "From", 0), ("stop", "Until", 1)):
                parts[self._name(name)] = gr.Number(
                    start, label=f"{label} {self.number}", info="Share of the steps",
                    min_width=90, step=0.05,
                )  # fmt: skip
        parts[self._name("mode")] = gr.Radio(
            mode_choices(MODES), value=MODES[0],
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
                    scale=0, min_width=310,
                )  # fmt: skip
                self.parameters = gr.HTML(
                    parameters_shown(MapState()), elem_id=f"controlnet-parameters-{self.number}",
                    html_template='<div class="cs-parameters"></div>',
                    js_on_load=script("parameters.js"), apply_default_css=False,
                )  # fmt: skip
            self.problem = gr.HTML(visible=False)
            self.note = gr.HTML(elem_id=f"controlnet-follows-{self.number}", visible=False)
            self.made = gr.JSON(None, visible=False)
            self.editor = map_editor(
                elem_id=f"controlnet-editor-{self.number}", empty=EMPTY.format(self.number)
            )

    def connect(self) -> None:
        """Wire it; the form must have its settings by now."""
        sizes = [self.form[name] for name in SIZE_FIELDS]
        seen = {self["map"], self["model"], *sizes}
        outputs = [
            self["map"], self.parameters, self.editor, self.problem, self.note, self.made,
        ]  # fmt: skip
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
        self.editor.edited(self._edit, seen, [self["map"], self.note], preprocess=False, **IN_TURN)
        # Also when another model changes the size: a map of the old size could not be edited.
        gr.on(
            [field.change for field in sizes], self._resize, {self.made, *seen}, outputs,
            trigger_mode="always_last", **raw,
        )  # fmt: skip
        self["model"].input(self._say, seen, self.note, **raw)
        self["on"].input(lambda on: gr.Column(visible=on), self["on"], self.desk, **raw)

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills, beyond the form."""
        return [
            self.picture, self.preprocessor, self.parameters, self.editor, self.problem,
            self.note, self.made, self.desk,
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
        given = {name: fields[self._name(name)] for name in FIELDS}
        return read_control(self.number, given, map_size(self.studio, fields), nets, self.studio)

    def edited(self, fields: Mapping[str, Any], editor: Any) -> dict[str, Any]:
        """The form's map as the editor shows it, also where the edit has not arrived by itself.

        Args:
            editor: the editor's value.
        Raises: InvalidRequest: if no editor could have it.
        """
        edit = shown_edit(editor)
        name = self._name("map")
        if edit is None:
            return {}
        state = MapState.read(fields[name], self.studio)
        return {name: with_edit(state, edit, map_size(self.studio, fields), self.studio).kept()}

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

    def show(self, seen: Seen, *, on: bool) -> Update:
        """The picture, its map and all that belongs to it."""
        state = seen.state
        return {
            self["on"]: on,
            self.desk: gr.Column(visible=on),
            self.preprocessor: gr.Dropdown(
                preprocessor_choices(Offer.of(self.studio, seen.model)), value=state.preprocessor
            ),
            self.picture: None if state.image is None else self.studio.picture(state.image),
            **self._map(seen),
        }

    def offer(self, offer: Offer, net: Any, mode: Any) -> Update:
        """The menus with what a model offers; what it does not gives way to the usual."""
        modes = offer.modes or MODES[:1]
        return {
            self["model"]: gr.Dropdown(
                net_choices(offer), value=net if net in offer.ids else ANY_MODEL
            ),
            self["mode"]: gr.Radio(
                mode_choices(modes), value=mode if mode in modes else MODES[0],
                visible=len(modes) > 1,
            ),
            self.preprocessor: gr.Dropdown(preprocessor_choices(offer)),
        }  # fmt: skip

    # ---- handlers

    def seen(self, values: Mapping[Any, Any]) -> Seen:
        """What these values of components say."""
        fields = {name: values[self.form[name]] for name in SIZE_FIELDS}
        state = MapState.read(values[self["map"]], self.studio)
        size = map_size(self.studio, fields)
        return Seen(state, size, str(fields["model"]), str(values[self["model"]] or ANY_MODEL))

    def _map(self, seen: Seen) -> Update:
        """State and editor; why there is no map stands in the editor's place."""
        state, size = seen.state, seen.size
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
            self.note: self._note(seen),
            self.made: None if state.image is None else [state.id(size)],
        }

    def _note(self, seen: Seen) -> Any:
        offer = Offer.of(self.studio, seen.model)
        text = followed_by(offer, seen.state, seen.net, seen.size, self.studio)
        return gr.HTML(f'<p class="cs-note">{escape(text)}</p>', visible=bool(text))

    def _say(self, values: Mapping[Any, Any]) -> Any:
        return self._note(self.seen(values))

    def _take(self, values: Mapping[Any, Any]) -> Update:
        seen = self.seen(values)
        file = values[self.picture]
        if file is None:
            return self._map(_with(seen, image=None))
        try:
            image = self.studio.add_picture(Path(file["path"]).read_bytes())
        except ContactSheetError as error:
            refused = {
                self.picture: None,
                self.problem: gr.HTML(problem_text(str(error)), visible=True),
            }
            return {**self._map(_with(seen, image=None)), **refused}
        on = {self["on"]: True, self.desk: gr.Column(visible=True)}
        return {**self._map(_with(seen, image=image)), **on}

    def _example(self, values: Mapping[Any, Any]) -> Update:
        seen = self.seen(values)
        example = example_pictures()[int(values[self.examples])]
        image = self.studio.add_picture(example.path)
        state = MapState(image=image, preprocessor=example.preprocessor, like=example.like)
        people = example.skeletons_text()
        if people is not None:
            state = with_people(state, tuple(from_json(people)), seen.size, self.studio)
        prompt = values[self.form["prompt"]] or example.prompt
        return {self.form["prompt"]: prompt, **self.show(replace(seen, state=state), on=True)}

    def _choose(self, values: Mapping[Any, Any]) -> Update:
        name = str(values[self.preprocessor])
        with shown():
            preprocessors.describe(name)
        return self._map(_with(self.seen(values), preprocessor=name, parameters={}))

    def _set(self, values: Mapping[Any, Any], event: gr.EventData) -> Update:
        seen = self.seen(values)
        name = seen.state.preprocessor
        try:
            parameters = preprocessors.check_parameters(name, dict(event.values))
        except ContactSheetError as error:
            return {self.problem: gr.HTML(problem_text(str(error)), visible=True)}
        return self._map(_with(seen, parameters=parameters))

    def _resize(self, values: Mapping[Any, Any]) -> Update:
        seen = self.seen(values)
        state = seen.state
        if state.image is None or [state.id(seen.size)] == values[self.made]:
            return {self.note: self._note(seen)}  # the map that is shown, undo and all, is right
        if state.skeletons is not None:
            state = with_people(state, state.skeletons, seen.size, self.studio)
        return self._map(replace(seen, state=state))

    def _edit(self, values: Mapping[Any, Any], event: gr.EventData) -> Update:
        seen = self.seen(values)
        with shown():
            state = with_edit(seen.state, read_edit(event), seen.size, self.studio)
        return {self["map"]: state.kept(), self.note: self._note(replace(seen, state=state))}


def _with(seen: Seen, **changes: Any) -> Seen:
    """With another picture, preprocessor or parameters: edits of the old map are gone."""
    return replace(seen, state=seen.state.remade(**changes))
