"""Sheet folder: writes `cells/*.png` as cells finish, then `sheet.json` and `sheet.png`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ContactSheetError, InvalidRequest
from pipelines.request.labels import file_stem
from pipelines.request.sheet import Sheet
from pipelines.runs.contact_sheet import scale_note, settled
from pipelines.runs.events import CellDone, CellFailed, Stats
from pipelines.runs.png_metadata import sheet_info, write_png
from pipelines.utils.files import save_png, save_text

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


@dataclass(frozen=True, slots=True)
class Finished:
    """What there is to say of a folder whose `sheet.json` is written.

    Attributes:
        note: how `sheet.png` differs from pixel for pixel; "" where it does not.
        error: why there is no `sheet.png`; "" where there is one.
    """

    note: str = ""
    error: str = ""


class SheetFolder:
    """Writer of a sheet's folder, cell by cell.

    Nothing is written before `add`. `finish` may be called at any time, of a stopped run too, and
    again: it writes what has ended so far, `sheet.json` before the grid, which may fail alone.
    """

    def __init__(self, folder: Path, sheet: Sheet) -> None:
        self.folder = folder
        self._record = SheetRecord(sheet)
        self._pictures = _Saved([None] * len(self._record.indices))

    def add(self, event: CellDone | CellFailed) -> None:
        """Write one cell. Raises: InvalidRequest: if the folder cannot be written."""
        if isinstance(event, CellDone):
            path = self.folder / self._record.file(event)
            write_png(path, event.image, event.request)
            self._pictures.paths[event.cell] = path
        self._record.add(event)

    def finish(self, stats: Stats, winner: int | None = None) -> Finished:
        """Write the JSON and the labelled grid, with the sheet's settings inside.

        A grid that is too large is scaled down; one that cannot be written is told of, since the
        JSON and the cells are whole without it.
        Raises: InvalidRequest: if the JSON cannot be written.
        """
        save_text(self.folder / "sheet.json", self._record.text(stats, winner))
        place = self.folder / "sheet.png"
        try:
            grid, layout = settled(self._record.sheet, self._pictures)
            save_png(place, grid, sheet_info(self._record.sheet))
        except (ContactSheetError, MemoryError, OSError, RuntimeError) as error:
            if place.is_file():  # of another sheet
                place.unlink()
            why = "memory does not suffice" if isinstance(error, MemoryError) else str(error)
            return Finished(error=f"{place} is not there: {why}; sheet.json and the cells are")
        return Finished(note="" if layout.scale == 1 else scale_note(layout, place))


class _Saved(Sequence["Image | None"]):
    """Pictures of cells, opened from their files when they are asked for: all are never held."""

    def __init__(self, paths: list[Path | None]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: Any) -> Any:
        from PIL import Image

        path = self.paths[place]
        if path is None:
            return None
        # Read where it is used, and closed with it; only the header where just the size is.
        return Image.open(path)


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
