"""Form fields: builds the components of a picture's settings, by the field they set."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines import Request, Studio
from pipelines.families.capabilities import Capabilities
from pipelines.request.field_labels import FIELD_LABELS
from pipelines.request.skip_layers import layers_text
from presets import ModelPreset
from ui.form.choices import (
    guidance_info,
    guider_choices,
    lora_choices,
    sampler_choices,
    schedule_choices,
    size_choices,
)

PICTURES_MAX = 16
RANDOM, FIXED = "random", "fixed"
Parts = dict[str, Component]
"""Components by the names of the fields they set."""


def words(field: str) -> dict[str, Any]:
    """Look up label and hint of a field, as Gradio's components take them."""
    row = FIELD_LABELS[field]
    return {"label": row.label, "info": row.hint or None}


def sampling_parts(start: Request, supports: Capabilities | None) -> Parts:
    """Build sampler, schedule, steps and guidance, with what fits a model."""
    parts: Parts = {}
    with gr.Row():
        parts["sampler"] = gr.Dropdown(
            sampler_choices(supports),
            value=start.sampler,
            **words("sampler"),
            min_width=120,
        )
        parts["schedule"] = gr.Dropdown(
            schedule_choices(start.sampler),
            value=start.schedule,
            **words("schedule"),
            min_width=110,
        )
    with gr.Row():
        parts["steps"] = gr.Number(start.steps, **words("steps"), min_width=110, step=1)
        parts["guidance_scale"] = gr.Number(
            start.guidance_scale,
            label=FIELD_LABELS["guidance_scale"].label,
            info=guidance_info(supports),
            min_width=110,
            step=0.5,
        )
        parts["distilled_guidance"] = gr.Number(
            start.distilled_guidance,
            **words("distilled_guidance"),
            min_width=110,
            step=0.5,
        )
    return parts


def size_parts(preset: ModelPreset) -> Parts:
    """Build size and number of pictures."""
    parts: Parts = {}
    choices = size_choices(preset)
    with gr.Row():
        parts["size"] = gr.Dropdown(
            choices, value=choices[0][1], label="Size", info="Width × height", min_width=110
        )
        parts["count"] = gr.Number(
            1,
            label="Pictures",
            info=f"1 to {PICTURES_MAX}, seeds in a row",
            min_width=110,
            step=1,
        )
    with gr.Row():
        for name in ("width", "height"):
            parts[name] = gr.Number(**words(name), visible=False, min_width=90, step=1)
    return parts


def seed_parts() -> Parts:
    """Build the seed and whether it is fixed."""
    parts: Parts = {}
    with gr.Row():
        parts["seed_mode"] = gr.Radio(
            [("Random", RANDOM), ("Fixed", FIXED)],
            value=RANDOM,
            label="Seed",
            info="Same seed, same picture",
            min_width=180,
        )
        # Text: a browser's numbers do not hold all of a seed's digits.
        parts["seed"] = gr.Textbox(
            "0",
            label=FIELD_LABELS["seed"].label,
            placeholder=FIELD_LABELS["seed"].hint,
            min_width=140,
            max_lines=1,
        )
    return parts


def guidance_parts(supports: Capabilities | None) -> Parts:
    """Build what acts on guidance and on the text, folded away."""
    parts: Parts = {}
    with gr.Accordion("More about guidance", open=False), gr.Row():
        for name in ("guidance_rescale", "guidance_start", "guidance_stop"):
            default = Request.model_fields[name].default
            parts[name] = gr.Number(default, **words(name), min_width=80, step=0.05)
        parts["guider"] = gr.Dropdown(
            guider_choices(supports),
            value="",
            allow_custom_value=True,
            **words("guider"),
            min_width=240,
        )
        parts |= skip_parts()
        parts["as_diffusers"] = gr.Checkbox(False, **words("as_diffusers"), min_width=240)
        parts["clip_skip"] = gr.Number(0, **words("clip_skip"), min_width=110, step=1)
    return parts


def skip_parts() -> Parts:
    """Build the fields of skip-layer guidance."""
    parts: Parts = {
        "skip_layers": gr.Textbox(
            "",
            **words("skip_layers"),
            min_width=240,
        )
    }
    for name in ("skip_layer_scale", "skip_layer_start", "skip_layer_stop"):
        default = Request.model_fields[name].default
        parts[name] = gr.Number(default, **words(name), min_width=80, step=0.05)
    return parts


def lora_parts(studio: Studio) -> Parts:
    """Build the menu of LoRAs, folded away."""
    parts: Parts = {}
    with gr.Accordion("LoRAs", open=False):
        parts["loras"] = gr.Dropdown(
            lora_choices(studio),
            value=[],
            multiselect=True,
            allow_custom_value=True,
            label="LoRAs",
            info="Type name:0.8 for another scale than 1 (-4 to 4)",
        )
    return parts


def skip_text(request: Request) -> str:
    """Write skipped layers as their field shows them: nothing where nothing is skipped."""
    return layers_text(request.skip_layers) if request.skip_layers else ""
