"""Control result: shows source, map and picture side by side, below a controlled run."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines import Studio
from pipelines.request.control import NONE
from pipelines.request.labels import index_text
from pipelines.runs.snapshot import Snapshot
from ui.control_editor.map_state import MapState, source_url
from ui.events import RAW
from ui.run_view.snapshot_json import picture_url
from ui.scripts import script


class ControlResult:
    """Control result of a tab's run, which is in `view`."""

    def __init__(self, studio: Studio, view: gr.HTML) -> None:
        self.studio = studio
        self.view = view
        self.output = gr.HTML(
            None,
            elem_id="controlnet-result",
            html_template='<div class="cs-followed"></div>',
            js_on_load=script("compare.js", "followed.js"),
            apply_default_css=False,
        )

    def connect(self) -> None:
        """Wire it."""
        self.view.run_state(self._draw, self.view, self.output, **RAW)

    def _draw(self, run_id: Any) -> Any:
        run = self.studio.find(str(run_id)) if run_id else None
        return None if run is None else followed(run.snapshot(), self.studio)


def followed(snapshot: Snapshot, studio: Studio) -> dict[str, Any] | None:
    """Describe each finished picture's source and maps for `followed.js`."""
    indices = snapshot.sheet.indices()
    cells = []
    for i, cell in enumerate(snapshot.cells):
        request = cell.request
        if cell.status != "done" or not request.controls:
            continue
        pictures = []
        for number, control in enumerate(request.controls):
            which = f" {number + 1}" if len(request.controls) > 1 else ""
            state = MapState.of(control, studio)
            if state.image is not None and state.preprocessor != NONE:
                pictures.append({"name": f"Picture{which}", "src": source_url(state.image)})
            address = f"maps/{snapshot.id}/{i}/{number}.png"
            pictures.append({"name": f"Map{which}", "src": address})
        cells.append(
            {
                "label": index_text(snapshot.sheet, indices[i]),
                "width": request.width,
                "height": request.height,
                "src": picture_url(snapshot.id, i),
                "pictures": pictures,
                "strength": sum(control.strength for control in request.controls),
            }
        )
    return {"cells": cells} if cells else None
