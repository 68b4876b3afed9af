"""Event options: how handlers of the page are connected, and what they take and return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines import InvalidRequest
from pipelines.errors import shortened

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


class _Event(gr.EventData):
    """Event with data of its own: a subclass declares each field with its type.

    Raises: InvalidRequest: where a field is missing or something else.
    """

    def __init__(self, target: Block | None, _data: Any) -> None:
        super().__init__(target, _data)
        data = _data if isinstance(_data, dict) else {}
        for name, kind in get_type_hints(type(self)).items():
            value = data.get(name)
            kind = get_origin(kind) or kind
            if not isinstance(value, kind) or isinstance(value, bool):
                came = shortened(repr(value), 60)
                raise InvalidRequest(f"{name} is {came}; it must be {_SAID[kind]}")
            setattr(self, name, value)


_SAID = {str: "a text", int: "a whole number", dict: "an object"}


class RunEvent(_Event):
    """Event of a run, by its id."""

    run: str


class PictureEvent(RunEvent):
    """Event of a run's picture; cells count from 0."""

    cell: int


class SettingsEvent(_Event):
    """Event of a picture's settings, which are JSON."""

    request: str


class ParametersEvent(_Event):
    """Event of a map's parameters, by name."""

    values: dict[str, Any]
