"""The menu of models, and the button that looks for new ones."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from pipelines import Studio
from pipelines.request.field_labels import FIELD_LABELS
from ui.form.choices import model_choices

DIRECT: dict[str, Any] = {
    "show_progress": "hidden", "api_visibility": "private", "queue": False, "preprocess": False,
}  # fmt: skip


def add_model_menu(studio: Studio, model: str, about: str, elem_id: str) -> gr.Dropdown:
    """The menu, with its button below."""

    def refresh(chosen: str | None) -> Any:
        choices = model_choices(studio)
        ids = [id for _, id in choices]
        line = f'<p class="cs-note" role="status">{escape(found(studio))}</p>'
        chosen = chosen if chosen in ids else next(iter(ids), None)
        return gr.Dropdown(choices, value=chosen), gr.HTML(line, visible=True)

    menu = gr.Dropdown(
        model_choices(studio), value=model, label=FIELD_LABELS["model"].label, info=about or None
    )
    button = gr.Button(
        "Refresh models", size="sm", elem_id=f"{elem_id}-refresh-models", min_width=80
    )
    note = gr.HTML(visible=False)
    button.click(refresh, menu, [menu, note], **DIRECT)
    return menu


def found(studio: Studio) -> str:
    """How many models there are, and which cannot be used."""
    infos = studio.models()
    broken = [info.id for info in infos if info.problem]
    good = len(infos) - len(broken)
    text = f"{good} model{'' if good == 1 else 's'} can be used."
    if broken:
        text += f" Not {', '.join(broken)}: python app.py models says why."
    return text
