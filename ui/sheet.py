"""The sheet tab: any fields of a Request against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines import Sheet
from pipelines.axes import parse_axis
from presets import sheet_presets
from ui.run_tab import DIRECT, RunTab

HELP = """\
One axis a line, `field=values`; the last one runs along the columns, the others along the rows.

| values | mean |
| --- | --- |
| `1, 3, 5` | a list |
| `1-10 (+3)` | a range with its step |
| `1-10 [4]` | so many values, evenly spaced |
| `"one, two", three` | texts; quotes keep commas |

Fields: `guidance_scale` `guidance_rescale` `guidance_start` `guidance_stop` `sampler` `schedule`
`distilled_guidance` `steps` `evaluations` `seed` `prompt` `negative_prompt` `width` `height`
`model` `lora` (names, `none` for without) `lora_scale` `lora2` `lora2_scale` ….
`prompt_replace=apple, pear` puts a pear wherever the prompt says apple.
`steps=10, 20 & guidance_scale=3, 6` changes two fields together.
"""


class SheetTab(RunTab):
    """A base Request from the form, axes as text."""

    id = "sheet"
    empty = "No sheet yet. Write one axis a line and press Generate, or pick an example."

    replaced = ("count",)

    def add_own_inputs(self) -> None:
        self.form.parts["axes"] = gr.Textbox(
            "guidance_scale=1, 3, 5, 8\nseed=1-4",
            label="Axes",
            info="One a line; the last runs along the columns",
            lines=3,
            max_lines=8,
            elem_classes="cs-prompt cs-code",
        )
        with gr.Accordion("How axes are written", open=False):
            gr.Markdown(HELP, elem_classes="cs-help")

    def add_examples(self) -> None:
        self.examples = gr.Dataset(
            label="Examples",
            components=[gr.Textbox(visible=False)],
            samples=[[preset.title] for preset in sheet_presets()],
            type="index",
            elem_classes="cs-examples",
        )

    def connect(self, run_now: Mapping[str, Any]) -> None:
        def fill(index: int) -> list[str]:
            preset = sheet_presets()[index]
            return [preset.prompt, "\n".join(preset.axes)]

        self.examples.click(
            fill, self.examples, [self.form["prompt"], self.form["axes"]], **DIRECT
        ).then(**run_now)

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        base, _ = self.form.read(fields)
        lines = [line for line in str(fields["axes"]).splitlines() if line.strip()]
        return Sheet(base=base, axes=tuple(parse_axis(line) for line in lines))
