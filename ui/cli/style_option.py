"""Style option: reads `--style NAME` on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import Axis, Studio
from presets import Style, find_style


def prompts_in_style(
    studio: Studio, style: str | None, chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """Put a command's prompts into a style; a model without negative prompt gets none of it.

    Raises: UnknownName, InvalidRequest: if there is no such style for the model.
    """
    if style is None:
        return {}
    found = find_style(style, chosen["model"])
    prompts = {"prompt": found.wrap(chosen["prompt"])}
    if studio.supports(chosen["model"]).negative_prompt:
        prompts["negative_prompt"] = found.add_negative(chosen["negative_prompt"])
    return prompts


def axis_in_style(axis: Axis, style: str | None, model: str) -> Axis:
    """Put an axis' prompts into the style of the command line, as the base's are.

    Raises: UnknownName, InvalidRequest: if there is no such style for the model.
    """
    if style is None or "prompt" not in [part.field for part in axis.parts]:
        return axis
    wrap = find_style(style, model).wrap
    parts = [
        Axis(field=part.field, values=tuple(wrap(str(value)) for value in part.values))
        if part.field == "prompt"
        else Axis(field=part.field, values=part.values)
        for part in axis.parts
    ]
    return Axis(field=parts[0].field, values=parts[0].values, zipped=tuple(parts[1:]))


def style_row(name: str, style: Style) -> dict[str, Any]:
    """Describe a style as a row of the table."""
    return {
        "name": name,
        "title": style.title,
        "prompt": style.prompt,
        "negative_prompt": style.negative,
    }
