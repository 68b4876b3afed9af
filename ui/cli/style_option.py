"""`--style NAME` on the command line. Imports no gradio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import Axis, Studio
from presets import Style, find_style


def worn(studio: Studio, style: str | None, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The prompts of a command in a style; a model without negative prompt gets none of it.

    Raises: UnknownName, InvalidRequest: if there is no such style for the model.
    """
    if style is None:
        return {}
    found = find_style(style, chosen["model"])
    prompts = {"prompt": found.around(chosen["prompt"])}
    if studio.supports(chosen["model"]).negative_prompt:
        prompts["negative_prompt"] = found.against(chosen["negative_prompt"])
    return prompts


def styled_axis(axis: Axis, style: str | None, model: str) -> Axis:
    """An axis whose prompts wear the style of the command line, as the base's does.

    Raises: UnknownName, InvalidRequest: if there is no such style for the model.
    """
    if style is None or "prompt" not in [part.field for part in axis.parts]:
        return axis
    around = find_style(style, model).around
    parts = [
        Axis(field=part.field, values=tuple(around(str(value)) for value in part.values))
        if part.field == "prompt"
        else Axis(field=part.field, values=part.values)
        for part in axis.parts
    ]
    return Axis(field=parts[0].field, values=parts[0].values, zipped=tuple(parts[1:]))


def style_row(name: str, style: Style) -> dict[str, Any]:
    """What there is to say of a style."""
    return {
        "name": name,
        "title": style.title,
        "prompt": style.prompt,
        "negative_prompt": style.negative,
    }
