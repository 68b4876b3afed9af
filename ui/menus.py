"""What the menus of the form offer, read from the registries."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines import Studio
from pipelines.samplers import SAMPLERS
from presets import ModelPreset, model_preset

OWN_SIZE, CUSTOM_SIZE = "own", "custom"
_NAMES = {"sgm_uniform": "SGM uniform"}


def model_choices(studio: Studio) -> list[tuple[str, str]]:
    """Title and id of every model that can be used."""
    return [
        (model_preset(info.id).title or info.id, info.id)
        for info in studio.models()
        if info.problem is None
    ]


def sampler_choices() -> list[tuple[str, str]]:
    """Label and id of every sampler for diffusion models."""
    return [(row.label, row.id) for row in SAMPLERS.values() if row.kind == "diffusion"]


def schedule_choices(sampler: str) -> list[tuple[str, str]]:
    """Label and id of every schedule that a sampler has."""
    return [(schedule_name(id), id) for id in SAMPLERS[sampler].schedules]


def schedule_name(id: str) -> str:
    """A schedule as menus show it."""
    return _NAMES.get(id, id.capitalize())


def fitting_schedule(sampler: str, schedule: str) -> Any:
    """The schedule menu of a sampler; a schedule that it lacks gives way to the default."""
    known = SAMPLERS[sampler].schedules
    return gr.Dropdown(
        schedule_choices(sampler), value=schedule if schedule in known else "default"
    )


def size_choices(preset: ModelPreset) -> list[tuple[str, str]]:
    """The preset's sizes, or the model's own, and a custom one."""
    listed = [(f"{w} × {h}", f"{w}x{h}") for w, h in preset.sizes]
    return [*(listed or [("Model's own size", OWN_SIZE)]), ("Custom", CUSTOM_SIZE)]
