"""Event options: how handlers of the page are connected, and what they take and return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

Values = Mapping[Component, Any]
"""Component to its value, as Gradio hands a set of inputs to a handler."""
Update = dict[Block, Any]
"""Component to its new value or properties, as a handler may return it."""
NO_UPDATE: Update = gr.skip()
"""What a handler of several components returns to change none: Gradio refuses an empty Update."""

QUIET: Mapping[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""No spinner, and no endpoint for programs."""
DIRECT: Mapping[str, Any] = {**QUIET, "queue": False}
"""Handlers that answer at once and wait for nobody."""
RAW: Mapping[str, Any] = {**DIRECT, "preprocess": False}
"""As DIRECT, with values as the page has them: half-typed ones too, which Gradio would refuse."""
PROGRESS: Mapping[str, Any] = {**RAW, "show_progress": "minimal"}
"""As RAW, for what takes long enough to be seen: a map that is made."""
EVERY: Mapping[str, Any] = {**PROGRESS, "trigger_mode": "multiple"}
"""As PROGRESS, for events of which none may be dropped while an answer is awaited."""
IN_TURN: Mapping[str, Any] = {
    **QUIET, "preprocess": False, "concurrency_limit": 1, "trigger_mode": "multiple",
}  # fmt: skip
"""One after the other, none dropped: an edit must not overtake the one before it."""
