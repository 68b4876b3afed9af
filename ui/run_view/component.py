"""Run view components: build the grid of a run's pictures and the strip of recent runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines import StorageUnavailable, Studio
from ui.memory_status import memory_line
from ui.run_view import snapshot_json
from ui.scripts import script

log = logging.getLogger(__name__)

VIEWER = (
    "compare.js", "run_view.js", "cells.js", "lightbox.js", "table.js", "zoom.js", "keys.js",
    "choice.js", "follow.js",
)  # fmt: skip
"""The viewer's scripts, in the order they need each other."""


def run_view(
    studio: Studio,
    *,
    elem_id: str,
    empty: str,
    elem_classes: str | None = None,
    sends: bool = False,
    steers: bool = False,
) -> gr.HTML:
    """Build a run's view, whose value is the id of the run; "" shows `empty` instead.

    Its events: `run_state` when the run begins or ends, `use_settings` (data: `request`, JSON)
    when the user wants a picture's settings back in the form, `send_to` (the same data) when they
    are wanted on the text-to-image tab, which is offered if `sends`; `steer` (data: `run`, `cell`)
    when the picture is wanted on the ControlNet tab, if `steers`.
    """

    previews = snapshot_json.Previews()

    def poll(asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            run = studio.find(str(asked.get("run", "")))
        except StorageUnavailable as error:
            return {**snapshot_json.NOT_FOUND, "line": str(error)}
        if run is None:
            return dict(snapshot_json.NOT_FOUND)
        seen = [str(key) for key in asked.get("seen", [])]
        described = snapshot_json.describe(run.snapshot(), seen, previews)
        # Taken after the snapshot: when that says a run has ended, its model is idle here too.
        return {**described, "memory": memory_line(studio)}

    def pick(asked: Mapping[str, Any]) -> bool:
        """Keep a run's winner; false if there is no such picture."""
        cell = asked.get("cell")
        return studio.pick_winner(str(asked.get("run", "")), None if cell is None else int(cell))

    return gr.HTML(
        value="",
        elem_id=elem_id,
        elem_classes=elem_classes,
        empty=empty,
        sends=sends,
        steers=steers,
        html_template='<div class="cs-run"></div>',
        js_on_load=script(*VIEWER),
        server_functions=[poll, pick],
        apply_default_css=False,
    )


def run_strip(*, elem_id: str) -> gr.HTML:
    """Build the strip of recent runs; it shows `strip_value`, its event `pick` has data `run`."""
    return gr.HTML(
        value={"current": "", "runs": []},
        elem_id=elem_id,
        html_template='<div class="cs-strip"></div>',
        js_on_load=script("run_strip.js"),
        apply_default_css=False,
    )


def strip_value(studio: Studio, current: str, limit: int = 12) -> dict[str, Any]:
    """List the newest runs for `run_strip`, and which of them is on the page."""
    runs = []
    try:
        recent = studio.recent(limit)
    except StorageUnavailable as error:
        log.warning("the recent runs cannot be listed: %s", error)
        recent = []
    for summary in recent:
        shown = summary.shown
        runs.append(
            {
                "id": summary.id,
                "created": summary.created,
                "status": summary.status,
                "prompt": summary.prompt,
                "cells": summary.cells,
                "src": None if shown is None else snapshot_json.picture_url(summary.id, shown),
            }
        )
    return {"current": current, "runs": runs}
