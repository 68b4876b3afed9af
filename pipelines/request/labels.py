"""What the places of a sheet are called: the same words in the page, the PNG and the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipelines.request.control import control_field
from pipelines.request.lora import NONE, lora_field
from pipelines.request.sheet import EVALUATIONS, PROMPT_REPLACE, Axis, Sheet
from pipelines.request.skip_layers import layers_text
from pipelines.samplers import SAMPLERS, SCHEDULES, parse

NAMES = {
    "model": "model",
    "prompt": "prompt",
    PROMPT_REPLACE: "prompt",
    "negative_prompt": "without",
    "sampler": "sampler",
    "schedule": "schedule",
    "steps": "steps",
    EVALUATIONS: "evaluations",
    "guidance_scale": "guidance",
    "guidance_rescale": "rescale",
    "guidance_start": "guidance from",
    "guidance_stop": "guidance until",
    "distilled_guidance": "distilled guidance",
    "guider": "guider",
    "skip_layers": "skipping layers",
    "skip_layer_scale": "skip scale",
    "skip_layer_start": "skip from",
    "skip_layer_stop": "skip until",
    "seed": "seed",
    "width": "width",
    "height": "height",
}
"""Field to the short name that stands before its values."""

_CONTROL_NAMES = {
    "image": "picture",
    "preprocessor": "map",
    "model": "control",
    "start": "control from",
    "stop": "control until",
}

_SPEAK_FOR_THEMSELVES = ("prompt", PROMPT_REPLACE, "sampler", "schedule", "model")


def name_of(field: str) -> str:
    """The short name of a field, of a control's or of a LoRA's; those of a second one say so."""
    lora = lora_field(field)
    if lora is not None:
        named = f"LoRA {lora[0] + 1}" if lora[0] else "LoRA"
        return f"{named} scale" if lora[1] == "scale" else named
    found = control_field(field)
    if found is None:
        return NAMES.get(field, field)
    number, part = found
    named = _CONTROL_NAMES.get(part, part)
    # As "control 2 from 0.5": a number behind the name would read as a value.
    rest = named.removeprefix("control")
    return f"control {number + 1} {rest.strip()}".strip() if number else named


def value_text(field: str, value: Any) -> str:
    """A value as people read it: a sampler by its label, a number without needless zeros."""
    if field == "sampler":
        id, schedule = parse(str(value))
        return SAMPLERS[id].label + (f" {schedule.capitalize()}" if schedule else "")
    if field == "schedule" and value in SCHEDULES:
        return "default schedule" if value == "default" else str(value).replace("_", " ")
    control = control_field(field)
    if control is not None and control[1] == "image":
        return str(value)[:8]
    if value == NONE and lora_field(field) is not None:
        return "without"
    if isinstance(value, tuple):
        return layers_text(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) or "(empty)"


def place_text(axis: Axis, position: int) -> str:
    """The header of one row or column, such as `guidance 3.5` or `DPM++ 2M, steps 20`."""
    parts = []
    for part in axis.parts:
        if part is not axis and (part.field, part.values[position]) == ("schedule", "default"):
            continue  # beside its sampler, the usual schedule goes without saying
        value = part.values[position]
        text = value_text(part.field, value)
        if part.field in _SPEAK_FOR_THEMSELVES:
            parts.append(text)
        elif value == NONE and lora_field(part.field) is not None:
            parts.append(f"no {name_of(part.field)}")
        else:
            parts.append(f"{name_of(part.field)} {text}")
    return ", ".join(parts)


def axis_title(axis: Axis) -> str:
    """What varies along an axis, such as `sampler and steps`."""
    names = dict.fromkeys(name_of(part.field) for part in axis.parts)
    return " and ".join(names)


def index_text(sheet: Sheet, index: Sequence[int], between: str = ", ") -> str:
    """What sets the cell at `index` apart: the place along every axis, joined by `between`."""
    return between.join(place_text(axis, i) for axis, i in zip(sheet.axes, index, strict=True))


def row_texts(sheet: Sheet) -> list[str]:
    """The header of every row: all axes but the last, which runs along the columns."""
    above = Sheet(base=sheet.base, axes=sheet.axes[:-1])
    return [index_text(above, index, " · ") for index in above.indices()]


def column_texts(sheet: Sheet) -> list[str]:
    """The header of every column; one empty header for a single picture."""
    if not sheet.axes:
        return [""]
    last = sheet.axes[-1]
    return [place_text(last, i) for i in range(len(last.values))]


def file_stem(sheet: Sheet, index: Sequence[int], number: int) -> str:
    """A cell's file name without its ending: its number, then what sets it apart."""
    words = index_text(sheet, index, " ")
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", words).strip("-.")[:60].rstrip("-.")
    return f"{number:03d}-{slug}" if slug else f"{number:03d}"
