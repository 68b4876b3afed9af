"""Form choices: lists what the form's menus offer, read from the registries."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines import ContactSheetError, Studio, UnknownName
from pipelines.denoising.guiders.registry import GUIDERS
from pipelines.families.capabilities import Capabilities
from pipelines.request.field_labels import FIELD_LABELS
from pipelines.samplers import SAMPLERS
from presets import ModelPreset, model_preset

OWN_SIZE, CUSTOM_SIZE = "own", "custom"
SKIPPING = ("skip_layers", "skip_layer_scale", "skip_layer_start", "skip_layer_stop")
"""Request fields of skip-layer guidance."""
_NAMES = {"sgm_uniform": "SGM uniform"}


def model_choices(studio: Studio) -> list[tuple[str, str]]:
    """List title and id of every model that can be used."""
    return [
        (model_preset(info.id).title or info.id, info.id)
        for info in studio.models()
        if info.problem is None
    ]


def supports_of(studio: Studio, model: str) -> Capabilities | None:
    """Look up what a model can do; None for one that is not there or cannot be used."""
    try:
        return studio.supports(model)
    except ContactSheetError:
        return None


def preset_of(model: str, supports: Capabilities | None) -> ModelPreset:
    """Look up a model's preset, or what its family suggests."""
    return model_preset(model, None if supports is None else supports.suggested)


def sampler_choices(supports: Capabilities | None) -> list[tuple[str, str]]:
    """List label and id of every sampler that fits a model; of all where it is not known."""
    ids = SAMPLERS if supports is None else supports.samplers
    return [(SAMPLERS[id].label, id) for id in ids]


def guider_choices(supports: Capabilities | None) -> list[tuple[str, str]]:
    """Label and value of every guider that fits a model; its own comes first and has no value."""
    ids = () if supports is None else supports.guiders
    return [(GUIDERS[id].label, id if number else "") for number, id in enumerate(ids)]


def lora_choices(studio: Studio, model: str | None = None) -> list[str]:
    """List ids of the LoRAs that fit a model; without one of all, which needs no torch."""
    try:
        return [info.id for info in studio.loras(model) if info.problem is None]
    except ContactSheetError:
        return []


def schedule_choices(sampler: str) -> list[tuple[str, str]]:
    """List label and id of every schedule that a sampler has. Raises: UnknownName."""
    if sampler not in SAMPLERS:
        raise UnknownName.of("sampler", sampler, SAMPLERS, "python app.py samplers lists them")
    return [(schedule_name(id), id) for id in SAMPLERS[sampler].schedules]


def schedule_name(id: str) -> str:
    """Name a schedule as menus show it."""
    return _NAMES.get(id, id.capitalize())


def fitting_schedule(sampler: str, schedule: str) -> Any:
    """Build a sampler's schedule menu; a schedule that it lacks gives way to the default."""
    choices = schedule_choices(sampler)
    fits = schedule in [id for _, id in choices]
    return gr.Dropdown(choices, value=schedule if fits else "default")


def size_choices(preset: ModelPreset) -> list[tuple[str, str]]:
    """List the preset's sizes, or the model's own, and a custom one."""
    listed = [(f"{w} × {h}", f"{w}x{h}") for w, h in preset.sizes]
    return [*(listed or [("Model's own size", OWN_SIZE)]), ("Custom", CUSTOM_SIZE)]


def shown_parts(supports: Capabilities | None) -> dict[str, bool]:
    """Decide which fields are shown for a model, of those that not every model has."""
    return {
        "negative_prompt": supports is None or supports.negative_prompt,
        "distilled_guidance": supports is not None and supports.distilled_guidance is not None,
        "guider": len(guider_choices(supports)) > 1,
        "clip_skip": supports is not None and supports.clip_skip > 0,
        **dict.fromkeys(SKIPPING, supports is not None and supports.skip_layers > 0),
    }


def guidance_info(supports: Capabilities | None) -> str:
    """Write what stands beside the guidance scale."""
    if supports is not None and supports.guidance == "negative_prompt":
        return "Acts with a negative prompt; 1 is off"
    return FIELD_LABELS["guidance_scale"].hint
