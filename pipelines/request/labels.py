"""Labels of a sheet's axes and cells: the same words on the page, in the PNG and in file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipelines.request.field_labels import FIELD_LABELS, PSEUDO_FIELD_LABELS
from pipelines.request.item_axes import item_field
from pipelines.request.replace_axes import text_of
from pipelines.request.sheet import Axis, Sheet
from pipelines.request.skip_layers import layers_text
from pipelines.samplers import SAMPLERS, SCHEDULES, parse

_SPEAK_FOR_THEMSELVES = ("prompt", "sampler", "schedule", "model")


def name_of(field: str) -> str:
    """Look up the short label of a field of a Request or of an item of its lists."""
    found = item_field(field)
    if found is not None:
        return found.label
    row = FIELD_LABELS.get(field) or PSEUDO_FIELD_LABELS.get(field)
    if row is None and text_of(field) is not None:
        return f"{name_of(field[:-1])} {field[-1]}"
    return field if row is None else row.short


def value_text(field: str, value: Any) -> str:
    """Format a value for people: a sampler by its label, a number without needless zeros."""
    if field == "sampler":
        id, schedule = parse(str(value))
        return SAMPLERS[id].label + (f" {schedule.capitalize()}" if schedule else "")
    if field == "schedule" and value in SCHEDULES:
        return "default schedule" if value == "default" else str(value).replace("_", " ")
    of_item = item_field(field)
    shown = None if of_item is None else of_item.text(value)
    if shown is not None:
        return shown
    if isinstance(value, tuple):
        return layers_text(value)
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    text = str(value)
    return text if text.strip() else "(blank)" if text else "(empty)"


def place_text(axis: Axis, position: int) -> str:
    """Write the header of one row or column, such as `guidance 3.5` or `DPM++ 2M, steps 20`."""
    parts = []
    for part in axis.parts:
        if part is not axis and (part.field, part.values[position]) == ("schedule", "default"):
            continue  # beside its sampler, the usual schedule goes without saying
        value = part.values[position]
        text = value_text(part.field, value)
        if (text_of(part.field) or part.field) in _SPEAK_FOR_THEMSELVES:
            parts.append(text)
        elif (found := item_field(part.field)) is not None and found.takes_away(value):
            parts.append(f"no {name_of(part.field)}")
        else:
            parts.append(f"{name_of(part.field)} {text}")
    return ", ".join(parts)


def axis_title(axis: Axis) -> str:
    """Write what varies along an axis, such as `sampler and steps`."""
    names = dict.fromkeys(name_of(part.field) for part in axis.parts)
    return " and ".join(names)


def index_text(sheet: Sheet, index: Sequence[int], between: str = ", ") -> str:
    """Write the label of a cell: its place along every axis, joined by `between`."""
    return between.join(place_text(axis, i) for axis, i in zip(sheet.axes, index, strict=True))


def cell_text(sheet: Sheet, cell: int) -> str:
    """Write the label of a cell by its number, in axis order."""
    places = []
    for length in reversed(sheet.shape):
        cell, place = divmod(cell, length)
        places.append(place)
    return index_text(sheet, places[::-1])


def row_texts(sheet: Sheet) -> list[str]:
    """List the header of every row: all axes but the last, which runs along the columns."""
    above = Sheet(base=sheet.base, axes=sheet.axes[:-1])
    return [index_text(above, index, " · ") for index in above.indices()]


def column_texts(sheet: Sheet) -> list[str]:
    """List the header of every column; one empty header for a single picture."""
    if not sheet.axes:
        return [""]
    last = sheet.axes[-1]
    return [place_text(last, i) for i in range(len(last.values))]


def file_stem(sheet: Sheet, index: Sequence[int], number: int) -> str:
    """Write a cell's file name without its ending: its number, then its label."""
    words = index_text(sheet, index, " ")
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", words).strip("-.")[:60].rstrip("-.")
    return f"{number:03d}-{slug}" if slug else f"{number:03d}"
