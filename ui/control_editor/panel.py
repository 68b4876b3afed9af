"""Control panel: what the components of one control on the ControlNet tab mean and do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.blocks import Block
from PIL import Image

from pipelines import Axis, ContactSheetError, Control, InvalidRequest, Studio, preprocessors
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.preprocessors.skeletons import from_json
from pipelines.request.control import MODES
from presets import example_pictures
from ui.control_editor.availability import ANY_MODEL, Offer
from ui.control_editor.choices import mode_choices, net_choices, preprocessor_choices
from ui.control_editor.inputs import ControlInputs
from ui.control_editor.map_editor import read_edit, shown_edit
from ui.control_editor.map_state import MapState, map_size, with_edit, with_people
from ui.control_editor.map_widgets import (
    MapSettings,
    MapWidgets,
    map_updates,
    note_update,
    problem_update,
)
from ui.control_editor.read_control import read_control
from ui.control_editor.recognised_map import other_way, with_picture, with_preprocessor
from ui.errors import shown
from ui.events import EVERY, IN_TURN, PROGRESS, ParametersEvent, Update, Values
from ui.form.settings_form import SettingsForm
from ui.uploads import opened, sent_bytes

SIZE_FIELDS = ("model", "size", "width", "height")
"""Fields of the form that decide how large a map is."""


class ControlPanel:
    """One control: its inputs in the form, its map, and what they do to each other."""

    def __init__(
        self, studio: Studio, form: SettingsForm, inputs: ControlInputs, widgets: MapWidgets
    ) -> None:
        self.studio = studio
        self.form = form
        self.inputs = inputs
        self.widgets = widgets

    def connect(self) -> None:
        """Wire it; the form must have its settings by now."""
        inputs, widgets = self.inputs, self.widgets
        sizes = [self.form[name] for name in SIZE_FIELDS]
        settings = {inputs.map, inputs.model, *sizes}
        made = [inputs.map, *widgets.of_map]
        taken = [inputs.picture, inputs.on, *made, widgets.column]
        # A pasted picture comes as none at first, and at once as itself: the last one counts.
        inputs.picture.input(
            self._take, {inputs.picture, *settings}, taken, trigger_mode="always_last", **PROGRESS
        )
        inputs.examples.click(
            self._example, {inputs.examples, self.form["prompt"], *settings},
            [self.form["prompt"], inputs.on, inputs.map, *self.beyond_form], **PROGRESS,
        )  # fmt: skip
        widgets.preprocessor.input(
            self._choose, {widgets.preprocessor, *settings}, made, **PROGRESS
        )
        widgets.other.click(self._turn, settings, made, **PROGRESS)
        widgets.parameters.set_parameters(self._set, settings, made, **EVERY)
        widgets.editor.edited(self._edit, settings, [inputs.map, widgets.note], **IN_TURN)
        # Also when another model changes the size: a map of the old size could not be edited.
        gr.on(
            [field.change for field in sizes], self._resize, {widgets.made, *settings}, made,
            trigger_mode="always_last", **PROGRESS,
        )  # fmt: skip
        widgets.editor.brought(self._bring, settings, taken, **EVERY)
        inputs.model.input(self._say, settings, widgets.note, **PROGRESS)
        inputs.on.input(lambda on: gr.Column(visible=on), inputs.on, widgets.column, **PROGRESS)

    @property
    def beyond_form(self) -> list[Block]:
        """What `show` fills besides fields of the form."""
        widgets = self.widgets
        return [self.inputs.picture, *widgets.of_map, widgets.column]

    # ---- meaning

    def control(
        self, fields: Mapping[str, Any], nets: Sequence[ModelInfo]
    ) -> tuple[Control, tuple[float, ...]] | None:
        """Read the control that the form asks for and its strengths; None if it is off.

        Args:
            nets: the ControlNets that fit the model.

        Raises: ContactSheetError: for the first value that is not possible.
        """
        mine = self.inputs.fields
        size = map_size(self.studio, fields)
        return read_control(mine.number, mine.read(fields), size, nets, self.studio)

    def edited(self, fields: Mapping[str, Any], editor: Any) -> dict[str, Any]:
        """Read the map as the editor shows it, also if the edit has not arrived by itself.

        Args:
            editor: the editor's value.
        Raises: InvalidRequest: if no editor could have it.
        """
        edit = shown_edit(editor)
        name = self.inputs.fields.name("map")
        if edit is None:
            return {}
        state = MapState.read(fields[name], self.studio)
        return {name: with_edit(state, edit, map_size(self.studio, fields), self.studio).kept()}

    def axis(self, place: int, strengths: tuple[float, ...]) -> Axis:
        """Build the axis of several strengths of the control at this place in its Request."""
        number = "" if place == 0 else place + 1
        return Axis(field=f"control{number}_strength", values=strengths)

    def fill(self, control: Control | None) -> Update:
        """Fill the form from a Request's control; None switches it off."""
        inputs = self.inputs
        if control is None:
            return {inputs.on: False, self.widgets.column: gr.Column(visible=False)}
        return {
            inputs.on: True,
            inputs.map: MapState.of(control, self.studio).kept(),
            inputs.model: control.model or ANY_MODEL,
            inputs.strength: f"{control.strength:g}",
            inputs.start: control.start,
            inputs.stop: control.stop,
            inputs.mode: control.mode,
        }

    def show(self, settings: MapSettings, *, on: bool) -> Update:
        """Show the picture, its map and all that belongs to it."""
        state = settings.state
        return {
            **self._map(settings),
            self.inputs.on: on,
            self.widgets.column: gr.Column(visible=on),
            self.widgets.preprocessor: gr.Dropdown(
                preprocessor_choices(Offer.of(self.studio, settings.model)),
                value=state.preprocessor,
            ),
            self.inputs.picture: None if state.image is None else self.studio.picture(state.image),
        }

    def offer(self, offer: Offer, net: Any, mode: Any) -> Update:
        """Offer what a model has in the menus; a choice that it lacks gives way to the usual."""
        modes = offer.modes or MODES[:1]
        return {
            self.inputs.model: gr.Dropdown(
                net_choices(offer), value=net if net in offer.ids else ANY_MODEL
            ),
            self.inputs.mode: gr.Radio(
                mode_choices(modes), value=mode if mode in modes else MODES[0],
                visible=len(modes) > 1,
            ),
            self.widgets.preprocessor: gr.Dropdown(preprocessor_choices(offer)),
        }  # fmt: skip

    # ---- handlers

    def settings(self, values: Values) -> MapSettings:
        """Read the map's settings from values of components."""
        fields = {name: values[self.form[name]] for name in SIZE_FIELDS}
        state = MapState.read(values[self.inputs.map], self.studio)
        size = map_size(self.studio, fields)
        net = str(values[self.inputs.model] or ANY_MODEL)
        return MapSettings(state, size, str(fields["model"]), net)

    def _map(self, settings: MapSettings) -> Update:
        return {
            self.inputs.map: settings.state.kept(),
            **map_updates(self.widgets, settings, self.studio),
        }

    def _say(self, values: Values) -> Any:
        return note_update(self.settings(values), self.studio)

    def _take(self, values: Values) -> Update:
        settings = self.settings(values)
        file = values[self.inputs.picture]
        if file is None:
            return self._map(self._with(settings, None))
        return self._taken(settings, lambda: self.studio.add_picture(sent_bytes(file)))

    def _bring(self, values: Values, event: gr.EventData) -> Update:
        """A picture that was pasted or dropped."""
        settings = self.settings(values)
        file = event._data if isinstance(event._data, dict) else {}
        updates = self._taken(settings, lambda: self.studio.add_picture(_sent(file)))
        image = MapState.read(updates[self.inputs.map], self.studio).image
        picture = None if image is None else self.studio.picture(image)
        return {self.inputs.picture: picture, **updates}

    def _taken(self, settings: MapSettings, add: Callable[[], str]) -> Update:
        """With a new picture; why it cannot be taken stands in the map's place."""
        try:
            image = add()
        except ContactSheetError as error:
            problem = problem_update(str(error))
            refused: Update = {self.inputs.picture: None, self.widgets.problem: problem}
            return {**self._map(self._with(settings, None)), **refused}
        on: Update = {self.inputs.on: True, self.widgets.column: gr.Column(visible=True)}
        return {**self._map(self._with(settings, image)), **on}

    def _with(self, settings: MapSettings, image: str | None) -> MapSettings:
        return replace(settings, state=with_picture(settings.state, image, self.studio))

    def _example(self, values: Values) -> Update:
        settings = self.settings(values)
        example = example_pictures()[int(values[self.inputs.examples])]
        image = self.studio.add_picture(example.path)
        state = MapState(image=image, preprocessor=example.preprocessor, like=example.like)
        people = example.skeletons_text()
        if people is not None:
            state = with_people(state, tuple(from_json(people)), settings.size, self.studio)
        typed = values[self.form["prompt"]]
        # Another example's prompt was not typed; what was typed stays.
        mine = typed and typed not in {one.prompt for one in example_pictures()}
        prompt = typed if mine else example.prompt
        return {self.form["prompt"]: prompt, **self.show(replace(settings, state=state), on=True)}

    def _choose(self, values: Values) -> Update:
        name = str(values[self.widgets.preprocessor])
        with shown():
            preprocessors.describe(name)
        settings = self.settings(values)
        state = with_preprocessor(settings.state, name, self.studio)
        return self._map(replace(settings, state=state))

    def _turn(self, values: Values) -> Update:
        settings = self.settings(values)
        return self._map(replace(settings, state=other_way(settings.state, self.studio)))

    def _set(self, values: Values, event: ParametersEvent) -> Update:
        settings = self.settings(values)
        name = settings.state.preprocessor
        try:
            parameters = preprocessors.check_parameters(name, event.values)
        except ContactSheetError as error:
            return {self.widgets.problem: problem_update(str(error))}
        return self._map(settings.remade(parameters=parameters))

    def _resize(self, values: Values) -> Update:
        settings = self.settings(values)
        state = settings.state
        if state.image is None or [state.id(settings.size)] == values[self.widgets.made]:
            # The map that is shown, undo and all, is right.
            return {self.widgets.note: note_update(settings, self.studio)}
        if state.skeletons is not None:
            state = with_people(state, state.skeletons, settings.size, self.studio)
        return self._map(replace(settings, state=state))

    def _edit(self, values: Values, event: gr.EventData) -> Update:
        settings = self.settings(values)
        with shown():
            state = with_edit(settings.state, read_edit(event), settings.size, self.studio)
        note = note_update(replace(settings, state=state), self.studio)
        return {self.inputs.map: state.kept(), self.widgets.note: note}


def _sent(file: Mapping[str, Any]) -> Image.Image:
    if "error" in file:
        why = str(file["error"])[:200]
        raise InvalidRequest(f"the picture did not arrive: {why}; make it smaller, or try again")
    return opened(file)
