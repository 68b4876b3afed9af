"""Sheet folder: writes `cells/*.png` as cells finish, then `sheet.png` and `sheet.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from pipelines.request.labels import file_stem
from pipelines.request.sheet import Sheet
from pipelines.runs.contact_sheet import draw_grid
from pipelines.runs.events import CellDone, CellFailed, Stats
from pipelines.runs.png_metadata import write_png
from pipelines.utils.files import drafts

if TYPE_CHECKING:
    from PIL.Image import Image


class SheetRecord:
    """Record for `sheet.json`, gathered cell by cell. Touches no disk."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.indices = sheet.indices()
        self._cells: list[dict[str, Any] | None] = [None] * len(self.indices)

    def file(self, event: CellDone) -> str:
        """Name the cell's file, below the sheet's folder."""
        return f"cells/{file_stem(self.sheet, self.indices[event.cell], event.cell)}.png"

    def add(self, event: CellDone | CellFailed) -> None:
        """Record how a cell ended."""
        entry: dict[str, Any] = {
            "index": list(self.indices[event.cell]),
            "request": json.loads(event.request.to_json()),
            "file": None,
            "seconds": 0.0,
            "cached": False,
            "error": None,
            "warnings": list(event.warnings),
        }
        if isinstance(event, CellDone):
            entry |= {
                "file": self.file(event),
                "seconds": round(event.seconds, 4),
                "cached": event.cached,
            }
        else:
            entry["error"] = event.error
        self._cells[event.cell] = entry

    def text(self, stats: Stats, winner: int | None = None) -> str:
        """Write the contents of `sheet.json`. `winner`: the number of the cell liked best."""
        contents = {
            "sheet": self.sheet.model_dump(mode="json"),
            "cells": [cell for cell in self._cells if cell is not None],
            "stats": asdict(stats),
            "winner": None if winner is None else list(self.indices[winner]),
        }
        return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


class SheetFolder:
    """Writer of a finished sheet's folder.

    Nothing is written before `add`; `finish` writes `sheet.json` last, so where that file is,
    the sheet is whole.
    """

    def __init__(self, folder: Path, sheet: Sheet) -> None:
        self.folder = folder
        self._record = SheetRecord(sheet)
        self._pictures: list[Image | None] = [None] * len(self._record.indices)

    def add(self, event: CellDone | CellFailed) -> None:
        """Write one cell. Raises: InvalidRequest: if the folder cannot be written."""
        if isinstance(event, CellDone):
            write_png(self.folder / self._record.file(event), event.image, event.request)
            self._pictures[event.cell] = event.image
        self._record.add(event)

    def finish(self, stats: Stats, winner: int | None = None) -> None:
        """Write the labelled grid and the JSON. Raises: InvalidRequest: if that cannot be."""
        try:
            with drafts(self.folder / "sheet.png", self.folder / "sheet.json") as (grid, record):
                draw_grid(self._record.sheet, self._pictures).save(grid, "PNG")
                record.write_text(self._record.text(stats, winner), "utf-8")
        except OSError as error:
            raise InvalidRequest(f"{self.folder} cannot be written: {error.strerror}") from None


def nearest_existing(path: Path) -> Path | None:
    """Find the nearest path that exists: the path itself or the first of its parents."""
    return next((p for p in (path.absolute(), *path.absolute().parents) if p.exists()), None)


def check_folder(folder: Path) -> None:
    """Check that a folder can be written, before any work. Raises: InvalidRequest."""
    place = nearest_existing(folder)
    if place is not None and not place.is_dir():
        raise InvalidRequest(f"{place} is a file; name a folder with --out")
    if place is None or not os.access(place, os.W_OK):
        raise InvalidRequest(f"{folder} cannot be written; choose another place with --out")
