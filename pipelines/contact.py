"""A sheet as files: `sheet.png`, `cells/*.png` and `sheet.json`, written as its cells finish."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from pipelines.events import CellDone, CellFailed, Stats
from pipelines.grid import draw_grid
from pipelines.labels import file_stem
from pipelines.store import write_png
from pipelines.types import Sheet

if TYPE_CHECKING:
    from PIL.Image import Image


class SheetFolder:
    """The folder a finished sheet is written to.

    Nothing is written before `add`; `finish` writes `sheet.json` last, so where that file is,
    the sheet is whole.
    """

    def __init__(self, folder: Path, sheet: Sheet) -> None:
        self.folder = folder
        self._sheet = sheet
        self._indices = sheet.indices()
        self._pictures: list[Image | None] = [None] * len(self._indices)
        self._cells: list[dict[str, Any] | None] = [None] * len(self._indices)

    def add(self, event: CellDone | CellFailed) -> None:
        """Write one cell. Raises: InvalidRequest: if the folder cannot be written."""
        index = self._indices[event.cell]
        entry: dict[str, Any] = {
            "index": list(index),
            "request": json.loads(event.request.to_json()),
            "file": None,
            "seconds": 0.0,
            "cached": False,
            "error": None,
        }
        if isinstance(event, CellDone):
            name = f"{file_stem(self._sheet, index, event.cell)}.png"
            write_png(self.folder / "cells" / name, event.image, event.request)
            self._pictures[event.cell] = event.image
            entry |= {
                "file": f"cells/{name}",
                "seconds": round(event.seconds, 4),
                "cached": event.cached,
            }
        else:
            entry["error"] = event.error
        self._cells[event.cell] = entry

    def finish(self, stats: Stats) -> None:
        """Write the labelled grid and the JSON. Raises: InvalidRequest: if that cannot be."""
        contents = {
            "sheet": self._sheet.model_dump(mode="json"),
            "cells": [cell for cell in self._cells if cell is not None],
            "stats": asdict(stats),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draw_grid(self._sheet, self._pictures).save(self.folder / "sheet.png")
            draft = self.folder / ".sheet.json.part"
            draft.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n", "utf-8")
            draft.replace(self.folder / "sheet.json")
        except OSError as error:
            raise InvalidRequest(f"{self.folder} cannot be written: {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Raises: InvalidRequest: before any work, if the folder could not be written after it."""
    place = next((p for p in (folder.absolute(), *folder.absolute().parents) if p.exists()), None)
    if place is not None and not place.is_dir():
        raise InvalidRequest(f"{place} is a file; name a folder with --out")
    if place is None or not os.access(place, os.W_OK):
        raise InvalidRequest(f"{folder} cannot be written; choose another place with --out")
