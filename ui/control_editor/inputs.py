"""Control inputs: builds the form's components of one control, for its picture and how it acts."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from pipelines.request.control import MODES
from presets import example_pictures
from ui.control_editor.availability import ANY_MODEL
from ui.control_editor.choices import FIRST_NET, mode_choices
from ui.control_editor.map_state import MapState
from ui.control_editor.read_control import ControlFields
from ui.form.fields import Parts


@dataclass(frozen=True, slots=True)
class ControlInputs:
    """Components of one control in the form's column.

    Attributes:
        fields: which fields of the form the components are.
        map: a MapState as JSON, which is what the browser keeps.
        examples, picture: no fields of the form: what they hold goes into `map`.
    """

    fields: ControlFields
    on: gr.Checkbox
    map: gr.JSON
    picture: gr.Image
    examples: gr.Dataset
    strength: gr.Textbox
    model: gr.Dropdown
    start: gr.Number
    stop: gr.Number
    mode: gr.Radio

    @property
    def parts(self) -> Parts:
        """Components that decide pictures, by the names of the form's fields."""
        return {
            self.fields.name("on"): self.on,
            self.fields.name("map"): self.map,
            self.fields.name("strength"): self.strength,
            self.fields.name("model"): self.model,
            self.fields.name("start"): self.start,
            self.fields.name("stop"): self.stop,
            self.fields.name("mode"): self.mode,
        }


def build_inputs(number: int, *, on: bool) -> ControlInputs:
    """Build one control's inputs in the layout that is open; `number` counts from 1."""
    with gr.Accordion(f"Control {number}", open=on):
        switch = gr.Checkbox(on, label=f"Use control {number}")
        map = gr.JSON(MapState().kept(), visible=False)
        picture = gr.Image(
            type="filepath", format="png", sources=["upload", "clipboard", "webcam"],
            label=f"Picture {number}", height=190, buttons=[],
            elem_id=f"controlnet-picture-{number}",
        )  # fmt: skip
        examples = gr.Dataset(
            label="Examples", components=[gr.Image(visible=False)], type="index",
            samples=[[str(example.path)] for example in example_pictures()],
            elem_classes="cs-thumbs",
        )  # fmt: skip
        strength = gr.Textbox(
            "1", label=f"Strength {number}", info="0 to 2; or several: 0.5, 0.75, 1", lines=1
        )
        with gr.Accordion("How it acts", open=False):
            model = gr.Dropdown(
                [FIRST_NET], value=ANY_MODEL,
                label=f"ControlNet {number}", info="Trained for one kind of map",
            )  # fmt: skip
            with gr.Row():
                start = _share(f"From {number}", 0)
                stop = _share(f"Until {number}", 1)
            mode = gr.Radio(
                mode_choices(MODES), value=MODES[0],
                label=f"Who decides {number}", info="Where prompt and map disagree",
            )  # fmt: skip
    return ControlInputs(
        fields=ControlFields(number),
        on=switch, map=map, picture=picture, examples=examples, strength=strength,
        model=model, start=start, stop=stop, mode=mode,
    )  # fmt: skip


def _share(label: str, value: float) -> gr.Number:
    return gr.Number(value, label=label, info="Share of the steps", min_width=90, step=0.05)
