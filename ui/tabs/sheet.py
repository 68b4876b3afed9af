"""Sheet tab: any fields of a Request against each other."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines import ContactSheetError, Sheet
from pipelines.request.axis_grammar import PROMPT_VARIANTS, parse_axis
from pipelines.request.item_axes import ITEM_AXES, item_field
from pipelines.request.sheet import axis_fields
from presets import sheet_presets, wildcard_folders
from ui.events import DIRECT, RAW, Update
from ui.form.fields import Parts
from ui.tabs.run_tab import SKIP_MISFITS, RunTab

SHOWN = 8
"""Prompts of a template that are shown before they are made."""
_HELP = """\
One axis a line, `field=values`; the last one runs along the columns, the others along the rows.

| values | mean |
| --- | --- |
| `1, 3, 5` | a list |
| `1-10 (+3)` | a range with its step |
| `1-10 [4]` | so many values, evenly spaced (whole numbers are rounded) |
| `"one, two", three` | texts; quotes keep commas |

Fields: {fields}.
`prompt_replace=apple, pear` puts a pear wherever the prompt says apple; `prompt_replace2` (to
`9`) replaces something else beside it, `negative_replace` does so in the negative prompt.
`steps=10, 20 & guidance_scale=3, 6` changes two fields together.

`prompt_variants=a {red|green} apple, __look__` makes an axis of all prompts that this template
stands for: `{a|b}` is a choice, `__look__` any line of `look.txt` in `presets/wildcards` or your
own folder, `{2$$ and $$a|b|c}` two of three, `\\{` a brace. `[20]` behind it draws 20 of them,
`[20 @7]` with seed 7. The form's own prompt is not used then.
"""
_NOTES = {"skip_layers": "(`none, 7+8+9`)", "lora": "(names, `none` for without)"}
"""What the help says behind a field."""


def help_text() -> str:
    """Explain how axes are written, and name every field that can be one here.

    The form has no controls, so axes that only change items which are there stay out.
    """
    rows = [row for row in ITEM_AXES if row.added_by is not None]
    found = {name: item_field(name) for name in axis_fields()}
    fields = [name for name, item in found.items() if item is None or item.row in rows]
    first = (f"`{name}` {_NOTES.get(name, '')}".strip() for name in fields)
    second = (f"`{row.prefix}2{ending}`" for row in rows for ending in row.fields)
    return _HELP.replace("{fields}", f"{' '.join((*first, *second))} …")


class SheetTab(RunTab):
    """Sheet tab: a base Request from the form, axes as text."""

    id = "sheet"
    empty = "No sheet yet. Write one axis a line and press Generate, or pick an example."

    replaced = ("count",)

    def add_own_inputs(self) -> Parts:
        axes = gr.Textbox(
            "guidance_scale=1, 3, 5, 8\nseed=1-4",
            label="Axes",
            info="One a line; the last runs along the columns",
            lines=3,
            max_lines=8,
            elem_classes="cs-prompt cs-code",
        )
        skip_misfits = gr.Checkbox(
            False,
            label="Leave out combinations that cannot be made",
            info="Such as DDIM with the schedule Karras; unticked, one of these stops the sheet",
            elem_id=f"{self.id}-skip-misfits",
        )
        self.variants = gr.HTML(elem_id=f"{self.id}-variants", visible=False)
        with gr.Accordion("How axes are written", open=False):
            gr.Markdown(help_text(), elem_classes="cs-help")
        return {"axes": axes, SKIP_MISFITS: skip_misfits}

    def add_examples(self) -> None:
        self.examples = gr.Dataset(
            label="Examples",
            components=[gr.Textbox(visible=False)],
            samples=[[preset.title] for preset in sheet_presets()],
            type="index",
            elem_classes="cs-examples",
        )

    def connect(self, run_now: Mapping[str, Any]) -> None:
        prompt, axes = self.form["prompt"], self.form["axes"]

        def fill(index: int) -> Update:
            preset = sheet_presets()[index]
            return {prompt: preset.prompt, axes: "\n".join(preset.axes)}

        axes.change(self._show_variants, axes, self.variants, trigger_mode="always_last", **RAW)
        self.examples.click(fill, self.examples, [prompt, axes], **DIRECT).then(**run_now)

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        base, _ = self.form.read(fields)
        folders = wildcard_folders()
        return Sheet(
            base=base,
            axes=tuple(parse_axis(line, folders) for line in _lines(str(fields["axes"]))),
        )

    def _show_variants(self, text: str) -> Any:
        """The prompts of a template, before they are made."""
        parts = [
            part
            for line in _lines(text)
            if PROMPT_VARIANTS in line.lower().replace("-", "_")
            for part in _parts(line)
        ]
        return gr.HTML("".join(map(variants_markup, parts)), visible=bool(parts))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _parts(line: str) -> list[tuple[str, ...] | ContactSheetError]:
    """The prompts of a line's templates, or why there are none."""
    try:
        axis = parse_axis(line, wildcard_folders())
    except ContactSheetError as error:
        return [error]
    return [part.values for part in axis.parts if part.field == "prompt"]


def variants_markup(found: tuple[str, ...] | ContactSheetError) -> str:
    """Write how many prompts there are and the first of them, as markup, or why there are none."""
    if isinstance(found, ContactSheetError):
        return f'<p class="cs-problem">{html.escape(str(found))}</p>'
    some = "".join(f"<li>{html.escape(prompt) or '(empty)'}</li>" for prompt in found[:SHOWN])
    more = f"<li>… and {len(found) - SHOWN} more</li>" if len(found) > SHOWN else ""
    count = "1 prompt" if len(found) == 1 else f"{len(found)} prompts"
    return f'<div class="cs-note"><p>{count}:</p><ul>{some}{more}</ul></div>'
