"""The line that says what is in memory, and the button that frees what is idle."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from pipelines import Studio
from pipelines.residents import Resident

DIRECT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
EVERY_SECONDS = 3.0


def memory_text(device: str, budget: int, residents: Sequence[Resident]) -> str:
    """Device, memory used of the budget, and what takes it, largest first."""
    used = sum(one.bytes for one in residents)
    large = sorted((one for one in residents if one.bytes), key=lambda one: -one.bytes)
    names = ", ".join(f"{one.name}{' (in use)' if one.in_use else ''}" for one in large)
    return (
        f"{device}: {used / 1e6:,.1f} MB of {budget / 1e6:,.0f} MB in memory: {names or 'nothing'}"
    )


def add_memory_line(studio: Studio) -> None:
    """The line and its button, at the foot of the page."""

    def line() -> str:
        manager = studio.manager
        # Before the first load nothing is known of the device: asking would import torch.
        if not manager.residents:
            return _shown("Nothing is in memory.")
        return _shown(memory_text(manager.device, manager.budget, manager.residents))

    def free() -> str:
        studio.manager.free_idle()
        return line()

    with gr.Row(elem_id="memory"):
        text = gr.HTML(line)
        button = gr.Button("Free memory", size="sm", scale=0, min_width=120)
    gr.Timer(EVERY_SECONDS).tick(line, None, text, **DIRECT)
    button.click(free, None, text, **DIRECT)


def _shown(text: str) -> str:
    return f'<p class="cs-note">{escape(text)}</p>'
