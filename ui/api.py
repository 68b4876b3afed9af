"""The endpoints for programs (`gradio_client`); the page itself does not use them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gradio.events import api

from pipelines import ContactSheetError, Request, Sheet, Studio
from pipelines.runs import Run
from ui.errors import shown
from ui.settings import picture_count

POLL_SECONDS = 0.05
_DEFAULT = {name: info.default for name, info in Request.model_fields.items()}


def add_endpoints(studio: Studio) -> None:
    """Register `/generate`. Call it inside the page's Blocks."""

    async def generate(
        prompt: str = "",
        negative_prompt: str = "",
        model: str = _DEFAULT["model"],
        sampler: str = _DEFAULT["sampler"],
        schedule: str = _DEFAULT["schedule"],
        steps: int = _DEFAULT["steps"],
        guidance_scale: float = _DEFAULT["guidance_scale"],
        guidance_rescale: float = 0.0,
        guidance_start: float = 0.0,
        guidance_stop: float = 1.0,
        seed: int = 0,
        width: int | None = None,
        height: int | None = None,
        count: int = 1,
    ) -> tuple[list[dict[str, Any]], str]:
        """Make pictures: their PNG files, and their settings as a JSON list."""
        fields = {name: value for name, value in locals().items() if name in _DEFAULT}
        with shown():
            sheet = Sheet.seeds(Request(**fields), picture_count(count))
            run = await asyncio.to_thread(studio.submit, sheet)
            return await _pictures(run)

    api(generate, api_name="generate", concurrency_limit=None)


async def _pictures(run: Run) -> tuple[list[dict[str, Any]], str]:
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
