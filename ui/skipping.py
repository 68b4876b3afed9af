"""The form's settings of skip-layer guidance, for models that have it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines import Request
from pipelines.request.skip_layers import layers_text


def skip_parts() -> dict[str, Any]:
    """Components by the Request field they set, to be placed in the layout that is open."""
    parts: dict[str, Any] = {
        "skip_layers": gr.Textbox(
            "",
            label="Skip layers",
            info="Guides away from the picture without them, such as 7+8+9; empty = off",
            min_width=240,
        )
    }
    for name, label, info in (
        ("skip_layer_scale", "Skip scale", "How strongly"),
        ("skip_layer_start", "Skip from", "After this share of steps"),
        ("skip_layer_stop", "Skip until", "Before this share of steps"),
    ):
        default = Request.model_fields[name].default
        parts[name] = gr.Number(default, label=label, info=info, min_width=80, step=0.05)
    return parts


def skip_text(request: Request) -> str:
    """What stands in the box: nothing where nothing is skipped."""
    return layers_text(request.skip_layers) if request.skip_layers else ""
