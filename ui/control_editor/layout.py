"""One control on the ControlNet tab: the components for its picture, its map and how it acts."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines import Studio
from pipelines.request.control import MODES
from presets import example_pictures
from ui.control_editor.availability import ANY_MODEL
from ui.control_editor.choices import (
    FIRST_NET,
    mode_choices,
    parameters_shown,
    preprocessor_choices,
)
from ui.control_editor.map_editor import map_editor
from ui.control_editor.map_state import MapState
from ui.form.settings_form import SettingsForm
from ui.scripts import script

EMPTY = (
    "Map {}: upload a picture or drop it here, paste one (Ctrl+V), take one with the camera, "
    "or pick an example."
)


class ControlLayout:
    """The components of one control; `number` counts from 1.

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
                    scale=0, min_width=350,
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

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills, beyond the form."""
        return [
            self.picture, self.preprocessor, self.parameters, self.editor, self.problem,
            self.note, self.made, self.desk,
        ]  # fmt: skip
