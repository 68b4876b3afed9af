"""Memory status: the line at the foot of the page that says what is in memory, and its button.

Its script asks once when the page opens; while a run is watched, the answers about the run bring
the line along. No timer runs, and no other component is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pipelines import Studio
from pipelines.model_manager.component_cache import CachedComponent
from ui.scripts import script

EMPTY = "Nothing is in memory."


def add_memory_line(studio: Studio) -> gr.HTML:
    """Add the line, with the button that frees what no run uses."""

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


def memory_line(studio: Studio) -> str:
    """Write the line as of now. Waits for no load, and asks for no device before the first one."""
    manager = studio.manager
    cached = manager.cached
    if not any(one.bytes for one in cached):
        # Nothing is known of the device yet: asking would import torch, which takes seconds.
        return EMPTY
    return memory_text(manager.device, manager.budget, cached)


def memory_text(device: str, budget: int, cached: Sequence[CachedComponent]) -> str:
    """Write device, memory used of the budget, and what takes it, the largest first."""
    large = sorted((one for one in cached if one.bytes), key=lambda one: -one.bytes)
    here = [one for one in large if not one.waiting]
    waiting = [one for one in large if one.waiting]
    used = sum(one.bytes for one in here)
    parts = [f"{device}: {size(used)} of {size(budget)} in memory: {_names(here) or 'nothing'}"]
    if waiting:
        total = size(sum(one.bytes for one in waiting))
        parts.append(f"{total} beside it: {_names(waiting)}")
    return "; ".join(parts)


def size(count: int) -> str:
    """Write bytes in a unit that fits."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _names(cached: Sequence[CachedComponent]) -> str:
    return ", ".join(f"{one.name}{' (in use)' if one.in_use else ''}" for one in cached)
