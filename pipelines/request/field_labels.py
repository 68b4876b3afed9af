"""Labels of Request's fields for people: one table for the page, the command line and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.request.sheet import EVALUATIONS


@dataclass(frozen=True, slots=True)
class FieldLabel:
    """Label of one field, with what the page and the command line say of it.

    Attributes:
        short: stands before its values in headers, such as `guidance 3.5`.
        label: of its input on the page.
        hint: a few words beside that input.
        help: of its option on the command line.
        plural: of its values as an axis; `label` where that serves.
    """

    short: str
    label: str = ""
    hint: str = ""
    help: str = ""
    plural: str = ""


FIELD_LABELS: Mapping[str, FieldLabel] = {
    "prompt": FieldLabel(
        "prompt",
        "Prompt",
        "What the picture should show",
        "What the picture shows; may be empty.",
        "Prompts",
    ),
    "negative_prompt": FieldLabel(
        "without", "Negative prompt", "Optional: what not to show", "What it should not show."
    ),
    "model": FieldLabel("model", "Model", help="Model id, or a model's folder."),
    "sampler": FieldLabel(
        "sampler",
        "Sampler",
        "How noise is removed",
        "See: python app.py samplers.",
        "Samplers",
    ),
    "schedule": FieldLabel(
        "schedule", "Schedule", "Where steps are spent", "Spacing of the noise levels."
    ),
    "steps": FieldLabel("steps", "Steps", "More: slower, finer", "Denoising steps, 1 to 1000."),
    "guidance_scale": FieldLabel(
        "guidance",
        "Guidance",
        "Pull to the prompt; 1 is off",
        "Pull to the prompt: 1 = off, 0 = unconditional.",
    ),
    "guidance_rescale": FieldLabel(
        "rescale",
        "Rescale",
        "Tames strong guidance; 0 = off",
        "0 to 1: tames over-saturation at high guidance.",
    ),
    "guidance_start": FieldLabel("guidance from", "Start", "From this share of steps"),
    "guidance_stop": FieldLabel(
        "guidance until", "Stop at", "To this share of steps", plural="Where guidance stops"
    ),
    "distilled_guidance": FieldLabel(
        "distilled guidance",
        "Distilled guidance",
        "Built into the network; empty: its own",
        "For FLUX.1 dev: what its network is told; default 3.5.",
    ),
    "skip_layers": FieldLabel(
        "skipping layers",
        "Skip layers",
        "Guides away from the picture without them, such as 7+8+9; empty = off",
        "For SD 3.5: layers that guidance skips, such as 7+8+9, or "
        "7+8+9:scale=2.8,start=0.01,stop=0.2.",
    ),
    "skip_layer_scale": FieldLabel("skip scale", "Skip scale", "How strongly"),
    "skip_layer_start": FieldLabel("skip from", "Skip from", "After this share of steps"),
    "skip_layer_stop": FieldLabel("skip until", "Skip until", "Before this share of steps"),
    "seed": FieldLabel(
        "seed", "Seed number", "Used when fixed", "Seed of the noise; -1: random.", "Seeds"
    ),
    "width": FieldLabel("width", "Width", "Pixels", "Pixels; default: the model's own."),
    "height": FieldLabel("height", "Height", "Pixels", "Pixels; default: the model's own."),
    "controls": FieldLabel(
        "controls",
        "Controls",
        help="A picture that steers: image.png:canny:strength=0.8,stop=0.6,model=NAME; what is "
        "left out has its usual value. A picture that looks like a map already is used as it is; "
        "treat_as=picture or treat_as=map decides that. May be given several times.",
    ),
    "loras": FieldLabel(
        "LoRAs",
        "LoRAs",
        "Type name:0.8 for another scale than 1 (-4 to 4)",
        "A change of the model's weights and its scale, -4 to 4: NAME or NAME:0.8; may be "
        "given several times.",
    ),
    "guider": FieldLabel(
        "guider",
        "Guider",
        "How outputs are mixed; its parameters follow as :name=value",
        "See: python app.py guiders; NAME, or NAME:parameter=value.",
        "Guiders",
    ),
    "as_diffusers": FieldLabel(
        "as diffusers",
        "As diffusers computes it",
        "Where a sampler's source says otherwise, take diffusers' numbers",
        "Diffusers' own numbers, also where a sampler's source says otherwise; "
        "docs/differences.md lists these places.",
    ),
    "clip_skip": FieldLabel(
        "CLIP skip",
        "CLIP skip",
        "Last layers of the text encoder to leave out; 0 = none",
        "Last layers of CLIP to leave out; 1 is what other tools call Clip skip 2.",
    ),
}
"""Every field of Request, in the order in which endpoints take them: a new one comes last."""

PSEUDO_FIELD_LABELS: Mapping[str, FieldLabel] = {
    "prompt_replace": FieldLabel("prompt"),
    "prompt_replace2": FieldLabel("prompt 2"),
    "negative_replace": FieldLabel("negative"),
    EVALUATIONS: FieldLabel("evaluations"),
}
"""What can be an axis and is no field."""
