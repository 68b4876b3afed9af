"""Map widgets: builds and fills the components that show one control's map and how it is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines import ContactSheetError, Studio, preprocessors
from ui.control_editor.availability import ANY_MODEL, Offer, followed_by
from ui.control_editor.choices import parameters_shown, preprocessor_choices, problem_text
from ui.control_editor.map_editor import map_editor
from ui.control_editor.map_state import MapState, Size, editor_shows
from ui.control_editor.recognised_map import AS_PICTURE, said_of
from ui.errors import shown
from ui.events import Update
from ui.scripts import script

EMPTY = (
    "Map {}: upload a picture or drop it here, paste one (Ctrl+V), take one with the camera, "
    "or pick an example."
)


@dataclass(frozen=True, slots=True)
class MapSettings:
    """What a map, and the words about it, depend on.

    Attributes:
        model: whose ControlNets may follow the map.
        net: the ControlNet that the form names, or ANY_MODEL.
    """

    state: MapState
    size: Size
    model: str
    net: str = ANY_MODEL

    def remade(self, **changes: Any) -> MapSettings:
        """Change picture, preprocessor or parameters; edits of the old map are gone."""
        return replace(self, state=self.state.remade(**changes))


@dataclass(frozen=True, slots=True)
class MapWidgets:
    """Components of one control's map, above the run.

    Attributes:
        column: holds the others; hidden while the control is off.
        problem: why there is no map, in the map's place.
        said: that the picture is a map already, or looks like one.
        other: the button that does about it what was not done.
        note: which ControlNet follows the map.
        made: id of the map that is shown, so that it is not made again for nothing.
    """

    column: gr.Column
    preprocessor: gr.Dropdown
    parameters: gr.HTML
    problem: gr.HTML
    said: gr.HTML
    other: gr.Button
    note: gr.HTML
    made: gr.JSON
    editor: gr.HTML

    @property
    def of_map(self) -> list[Component]:
        """What `map_updates` fills."""
        return [
            *(self.preprocessor, self.parameters, self.editor),
            *(self.problem, self.said, self.other, self.note, self.made),
        ]


def build_map_widgets(number: int, *, on: bool) -> MapWidgets:
    """Build one control's map widgets in the layout that is open; `number` counts from 1."""
    with gr.Column(
        visible=on, elem_id=f"controlnet-map-{number}", elem_classes="cs-desk"
    ) as column:
        with gr.Row(elem_classes="cs-desk-head"):
            preprocessor = gr.Dropdown(
                preprocessor_choices(), value=MapState().preprocessor,
                label=f"Map {number}", info="What is taken from the picture",
                scale=0, min_width=350,
            )  # fmt: skip
            parameters = gr.HTML(
                parameters_shown(MapState()), elem_id=f"controlnet-parameters-{number}",
                html_template='<div class="cs-parameters"></div>',
                js_on_load=script("parameters.js"), apply_default_css=False,
            )  # fmt: skip
        return MapWidgets(
            column=column,
            preprocessor=preprocessor,
            parameters=parameters,
            problem=gr.HTML(visible=False),
            said=gr.HTML(elem_id=f"controlnet-recognised-{number}", visible=False),
            other=gr.Button(AS_PICTURE, size="sm", visible=False, elem_classes="cs-other-way"),
            note=gr.HTML(elem_id=f"controlnet-follows-{number}", visible=False),
            made=gr.JSON(None, visible=False),
            editor=map_editor(elem_id=f"controlnet-editor-{number}", empty=EMPTY.format(number)),
        )


def map_updates(widgets: MapWidgets, settings: MapSettings, studio: Studio) -> Update:
    """Make the map and show it; why there is none stands in the editor's place."""
    state, size = settings.state, settings.size
    problem, value = "", None
    with shown():
        try:
            value = editor_shows(state, size, studio)
            if state.image is not None and state.edited is None:
                problem = preprocessors.problem(state.preprocessor) or ""
        except ContactSheetError as error:
            problem = str(error)
    said, other = said_of(state)
    return {
        widgets.preprocessor: gr.Dropdown(value=state.preprocessor),
        widgets.said: gr.HTML(f'<p class="cs-said" role="status">{said}</p>', visible=bool(said)),
        widgets.other: gr.Button(other or AS_PICTURE, visible=bool(other)),
        widgets.parameters: parameters_shown(state),
        widgets.editor: value,
        widgets.problem: problem_update(problem),
        widgets.note: note_update(settings, studio),
        widgets.made: None if state.image is None else [state.id(size)],
    }


def note_update(settings: MapSettings, studio: Studio) -> gr.HTML:
    """Say which ControlNet follows the map; hidden where nothing is to be said."""
    offer = Offer.of(studio, settings.model)
    text = followed_by(offer, settings.state, settings.net, settings.size, studio)
    return gr.HTML(f'<p class="cs-note">{escape(text)}</p>', visible=bool(text))


def problem_update(problem: str) -> gr.HTML:
    """Say in the map's place what is wrong; hidden where nothing is."""
    return gr.HTML(problem_text(problem), visible=bool(problem))
