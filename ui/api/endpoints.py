"""Endpoints for programs (`gradio_client`): make pictures on request; the page uses none."""

from __future__ import annotations

import asyncio
import json

from gradio.events import api

from pipelines import Axis, ContactSheetError, Request, Sheet, Studio
from pipelines.request.axis_grammar import parse_values
from pipelines.runs.run import Run
from presets import recommended
from ui.api.control_endpoints import control_endpoints
from ui.api.parameters import Fields, Made, with_settings
from ui.errors import shown
from ui.form.run_limits import check_cells
from ui.form.settings_form import picture_count

POLL_SECONDS = 0.05


def add_endpoints(studio: Studio) -> None:
    """Register the named endpoints. Call it inside the page's Blocks."""

    def base(fields: Fields) -> Request:
        model = fields["model"]
        return Request(**recommended(model, fields, studio.suggested(model)))

    async def make(sheet: Sheet) -> Made:
        check_cells(sheet)
        return await _wait_for(await asyncio.to_thread(studio.submit, sheet))

    @with_settings()
    async def generate(fields: Fields, prompt: str = "", count: int = 1) -> Made:
        """Make pictures: their PNG files, and their settings as a JSON list.

        What is left out, or None, is what suits the model best. `loras` is a list such as
        `["NAME", "NAME:0.8"]`, `skip_layers` a text such as `7+8+9`.
        """
        with shown():
            request = base(fields | {"prompt": prompt})
            return await make(Sheet.seeds(request, picture_count(count)))

    @with_settings(without=("guidance_scale",))
    async def guidance_sweep(
        fields: Fields, prompt: str = "", guidance_scales: str = "1, 2, 3, 5, 8, 12"
    ) -> Made:
        """One picture a guidance scale: PNG files, and their settings as a JSON list.

        `guidance_scales` is a list or a range, such as `1, 3, 5` or `1-9 (+2)`.
        """
        with shown():
            scales = parse_values("guidance_scale", guidance_scales)
            axes = (Axis(field="guidance_scale", values=scales),)
            return await make(Sheet(base=base(fields | {"prompt": prompt}), axes=axes))

    @with_settings(without=("sampler", "schedule", "steps"))
    async def compare_samplers(
        fields: Fields,
        prompt: str = "",
        samplers: str = "ddim, euler, dpmpp_2m, unipc",
        steps: str = "10, 20",
    ) -> Made:
        """Every sampler at every number of steps, samplers slowest: PNG files and settings.

        `samplers` is a list of ids or names; "DPM++ 2M Karras" names a schedule as well.
        """
        with shown():
            axes = (
                Axis(field="sampler", values=parse_values("sampler", samplers)),
                Axis(field="steps", values=parse_values("steps", steps)),
            )
            return await make(Sheet(base=base(fields | {"prompt": prompt}), axes=axes))

    controlled = control_endpoints(studio, base, make)
    for endpoint in (generate, guidance_sweep, compare_samplers, *controlled):
        api(endpoint, api_name=endpoint.__name__, concurrency_limit=None)


async def _wait_for(run: Run) -> Made:
    """Wait for a run. Whoever hangs up stops it, because nobody else would look at it.

    Raises: ContactSheetError: if a picture could not be made.
    """
    try:
        while not (snapshot := run.snapshot()).finished:
            await asyncio.sleep(POLL_SECONDS)
    finally:
        run.stop()
    for cell in snapshot.cells:
        if cell.file is None:
            raise ContactSheetError(cell.error or snapshot.error or "the run was stopped")
    files = [
        {"path": str(cell.file), "meta": {"_type": "gradio.FileData"}} for cell in snapshot.cells
    ]
    return files, json.dumps([cell.request.model_dump() for cell in snapshot.cells])
