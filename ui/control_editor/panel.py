"""One control on the ControlNet tab: what its components mean and do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from pipelines import Axis, ContactSheetError, Control, InvalidRequest, preprocessors
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.preprocessors.skeletons import from_json
from pipelines.request.control import MODES
from presets import example_pictures
from ui.control_editor.availability import ANY_MODEL, Offer, followed_by
from ui.control_editor.choices import (
    mode_choices,
    net_choices,
    parameters_shown,
    preprocessor_choices,
    problem_text,
)
from ui.control_editor.layout import ControlLayout
from ui.control_editor.map_editor import read_edit, shown_edit
from ui.control_editor.map_state import (
    MapState,
    Size,
    editor_shows,
    map_size,
    with_edit,
    with_people,
)
from ui.control_editor.read_control import FIELDS, read_control
from ui.errors import shown
from ui.events import EVERY, IN_TURN, PROGRESS, Update, Values
from ui.uploads import opened

SIZE_FIELDS = ("model", "size", "width", "height")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the form says that a map, and the words about it, depend on."""

    state: MapState
    size: Size
    model: str
    net: str = ANY_MODEL


class ControlPanel(ControlLayout):
    """What the components of one control mean, and what they do to each other."""

    def connect(self) -> None:
        """Wire it; the form must have its settings by now."""
        sizes = [self.form[name] for name in SIZE_FIELDS]
        seen = {self["map"], self["model"], *sizes}
        outputs = [
            self["map"], self.parameters, self.editor, self.problem, self.note, self.made,
        ]  # fmt: skip
        # A pasted picture comes as none at first, and at once as itself: the last one counts.
        self.picture.input(
            self._take, {self.picture, *seen},
            [self.picture, self["on"], *outputs, self.desk], trigger_mode="always_last", **PROGRESS,
        )  # fmt: skip
        self.examples.click(
            self._example, {self.examples, self.form["prompt"], *seen},
            [self.form["prompt"], self["on"], self["map"], *self.outputs], **PROGRESS,
        )  # fmt: skip
        self.preprocessor.input(self._choose, {self.preprocessor, *seen}, outputs, **PROGRESS)
        self.parameters.set_parameters(self._set, seen, outputs, **EVERY)
        self.editor.edited(self._edit, seen, [self["map"], self.note], **IN_TURN)
        # Also when another model changes the size: a map of the old size could not be edited.
        gr.on(
            [field.change for field in sizes], self._resize, {self.made, *seen}, outputs,
            trigger_mode="always_last", **PROGRESS,
        )  # fmt: skip
        self.editor.brought(
            self._bring, seen, [self.picture, self["on"], *outputs, self.desk], **EVERY
        )
        self["model"].input(self._say, seen, self.note, **PROGRESS)
        self["on"].input(lambda on: gr.Column(visible=on), self["on"], self.desk, **PROGRESS)

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

    def seen(self, values: Values) -> Seen:
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

    def _say(self, values: Values) -> Any:
        return self._note(self.seen(values))

    def _take(self, values: Values) -> Update:
        seen = self.seen(values)
        file = values[self.picture]
        if file is None:
            return self._map(_with(seen, image=None))
        return self._taken(seen, lambda: self.studio.add_picture(Path(file["path"]).read_bytes()))

    def _bring(self, values: Values, event: gr.EventData) -> Update:
        """A picture that was pasted or dropped."""
        seen = self.seen(values)
        file = event._data if isinstance(event._data, dict) else {}
        updates = self._taken(seen, lambda: self.studio.add_picture(_sent(file)))
        image = MapState.read(updates[self["map"]], self.studio).image
        return {self.picture: None if image is None else self.studio.picture(image), **updates}

    def _taken(self, seen: Seen, add: Callable[[], str]) -> Update:
        """With a new picture; why it cannot be taken stands in the map's place."""
        try:
            image = add()
        except ContactSheetError as error:
            problem = gr.HTML(problem_text(str(error)), visible=True)
            refused: Update = {self.picture: None, self.problem: problem}
            return {**self._map(_with(seen, image=None)), **refused}
        on = {self["on"]: True, self.desk: gr.Column(visible=True)}
        return {**self._map(_with(seen, image=image)), **on}

    def _example(self, values: Values) -> Update:
        seen = self.seen(values)
        example = example_pictures()[int(values[self.examples])]
        image = self.studio.add_picture(example.path)
        state = MapState(image=image, preprocessor=example.preprocessor, like=example.like)
        people = example.skeletons_text()
        if people is not None:
            state = with_people(state, tuple(from_json(people)), seen.size, self.studio)
        typed = values[self.form["prompt"]]
        # Another example's prompt was not typed; what was typed stays.
        mine = typed and typed not in {one.prompt for one in example_pictures()}
        prompt = typed if mine else example.prompt
        return {self.form["prompt"]: prompt, **self.show(replace(seen, state=state), on=True)}

    def _choose(self, values: Values) -> Update:
        name = str(values[self.preprocessor])
        with shown():
            preprocessors.describe(name)
        return self._map(_with(self.seen(values), preprocessor=name, parameters={}))

    def _set(self, values: Values, event: gr.EventData) -> Update:
        seen = self.seen(values)
        name = seen.state.preprocessor
        try:
            parameters = preprocessors.check_parameters(name, dict(event.values))
        except ContactSheetError as error:
            return {self.problem: gr.HTML(problem_text(str(error)), visible=True)}
        return self._map(_with(seen, parameters=parameters))

    def _resize(self, values: Values) -> Update:
        seen = self.seen(values)
        state = seen.state
        if state.image is None or [state.id(seen.size)] == values[self.made]:
            return {self.note: self._note(seen)}  # the map that is shown, undo and all, is right
        if state.skeletons is not None:
            state = with_people(state, state.skeletons, seen.size, self.studio)
        return self._map(replace(seen, state=state))

    def _edit(self, values: Values, event: gr.EventData) -> Update:
        seen = self.seen(values)
        with shown():
            state = with_edit(seen.state, read_edit(event), seen.size, self.studio)
        return {self["map"]: state.kept(), self.note: self._note(replace(seen, state=state))}


def _with(seen: Seen, **changes: Any) -> Seen:
    """With another picture, preprocessor or parameters: edits of the old map are gone."""
    return replace(seen, state=seen.state.remade(**changes))


def _sent(file: Mapping[str, Any]) -> Image.Image:
    if "error" in file:
        why = str(file["error"])[:200]
        raise InvalidRequest(f"the picture did not arrive: {why}; make it smaller, or try again")
    return opened(file)
