"""Routes: serves pictures, films, sheets and maps beside the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, Response
from PIL import Image

from pipelines import ContactSheetError, StorageUnavailable, Studio
from pipelines.utils.images import png_bytes
from ui.run_view.downloads import SHEET_FILES

_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Add the routes of everything that the page shows by address."""
    _add_pictures(app, studio)
    _add_films(app, studio)
    _add_sheets(app, studio)
    _add_sources(app, studio)


Found = TypeVar("Found")


def _found(find: Callable[[], Found]) -> Found:
    """Find something that the store has, or tell the browser that it cannot be read now."""
    try:
        return find()
    except StorageUnavailable as error:
        raise HTTPException(503, str(error)) from None


def _add_pictures(app: FastAPI, studio: Studio) -> None:
    @app.get("/pictures/{run_id}/{cell}.png", include_in_schema=False)
    def picture(run_id: str, cell: int) -> FileResponse:
        found = _found(lambda: studio.cell(run_id, cell))
        file = None if found is None else found[1]
        if file is None or not file.is_file():
            raise HTTPException(404, "no such picture")
        return FileResponse(file, media_type="image/png", headers=_FOREVER)


def _add_films(app: FastAPI, studio: Studio) -> None:
    @app.get("/films/{run_id}/{cell}/{evaluation}.png", include_in_schema=False)
    def frame(run_id: str, cell: int, evaluation: int) -> Response:
        run = studio.live(run_id)
        image = None if run is None else run.film(cell).get(evaluation)
        if image is None:
            raise HTTPException(404, "no such frame")
        return Response(png_bytes(image, compress_level=1), media_type="image/png")


def _add_sheets(app: FastAPI, studio: Studio) -> None:
    @app.get("/sheets/{run_id}.{kind}", include_in_schema=False)
    def sheet(run_id: str, kind: str) -> Response:
        run = _found(lambda: studio.find(run_id))
        if run is None or kind not in SHEET_FILES:
            raise HTTPException(404, "no such sheet")
        media_type, make = SHEET_FILES[kind]
        try:
            return Response(make(run.snapshot()), media_type=media_type)
        except (ContactSheetError, MemoryError) as error:
            raise HTTPException(507, str(error) or "memory does not suffice") from None


def _add_sources(app: FastAPI, studio: Studio) -> None:
    def png(make: Callable[[], Image.Image]) -> Response:
        try:
            picture = make()
        except ContactSheetError as error:
            raise HTTPException(404, str(error)) from None
        content = png_bytes(picture, compress_level=1)
        return Response(content, media_type="image/png", headers=_FOREVER)

    @app.get("/sources/{image}.png", include_in_schema=False)
    def source(image: str) -> Response:
        return png(lambda: studio.picture(image))

    @app.get("/maps/{run_id}/{cell}/{number}.png", include_in_schema=False)
    def control_map(run_id: str, cell: int, number: int) -> Response:
        found = _found(lambda: studio.cell(run_id, cell))
        request = None if found is None else found[0]
        if request is None or not 0 <= number < len(request.controls):
            raise HTTPException(404, "no such map")
        width, height = request.width, request.height
        assert width and height, "requests of a run are complete"
        return png(lambda: studio.control_map(request.controls[number], width, height))
