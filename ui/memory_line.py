"""The line at the foot of the page that says what is in memory, and its button.

Its script asks once when the page opens; while a run is watched, the answers about the run bring
the line along. No timer runs, and no other component is touched.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines import Studio
from ui.grid import script
from ui.memory_text import memory_line


def add_memory_line(studio: Studio) -> gr.HTML:
    """The line, with the button that frees what no run uses."""

    def look(_: Any = None) -> str:
        return memory_line(studio)

    def free(_: Any = None) -> str:
        studio.manager.free_idle(waiting=True)
        return memory_line(studio)

    return gr.HTML(
        elem_id="memory",
        html_template='<div class="cs-memory"></div>',
        js_on_load=script("memory.js"),
        server_functions=[look, free],
        apply_default_css=False,
    )
