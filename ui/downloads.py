"""A sheet as one file to download: the labelled picture, the settings, or everything zipped."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from pipelines.contact import SheetFolder
from pipelines.events import CellDone, CellFailed
from pipelines.grid import draw_grid
from pipelines.runs import Snapshot


def sheet_png(snapshot: Snapshot) -> bytes:
    """The labelled grid; cells that are not finished are tinted."""
    pictures = [cell.image if cell.status == "done" else None for cell in snapshot.cells]
    buffer = BytesIO()
    draw_grid(snapshot.sheet, pictures).save(buffer, "PNG")
    return buffer.getvalue()


def sheet_json(snapshot: Snapshot) -> bytes:
    """`sheet.json`, as the command line writes it."""
    with tempfile.TemporaryDirectory() as folder:
        return (_write(snapshot, Path(folder)) / "sheet.json").read_bytes()


def sheet_zip(snapshot: Snapshot) -> bytes:
    """The folder that the command line writes, as a ZIP. PNGs are stored, not packed again."""
    buffer = BytesIO()
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(buffer, "w") as archive:
        folder = _write(snapshot, Path(name))
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
    return buffer.getvalue()


def _write(snapshot: Snapshot, folder: Path) -> Path:
    out = SheetFolder(folder, snapshot.sheet)
    for i, cell in enumerate(snapshot.cells):
        if cell.status == "done" and cell.image is not None:
            out.add(
                CellDone(
                    snapshot.id, i, cell.request, cell.image, cell.file, cell.seconds, cell.cached
                )
            )
        elif cell.error is not None:
            out.add(CellFailed(snapshot.id, i, cell.request, cell.error))
    out.finish(snapshot.stats)
    return folder


SHEET_FILES: Mapping[str, tuple[str, Callable[[Snapshot], bytes]]] = {
    "png": ("image/png", sheet_png),
    "json": ("application/json", sheet_json),
    "zip": ("application/zip", sheet_zip),
}
"""Ending to media type and maker."""
