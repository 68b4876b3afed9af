"""Sheet downloads: write a sheet as a labelled PNG, as JSON or as a ZIP of everything."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

from pipelines.runs.contact_sheet import draw_grid
from pipelines.runs.events import CellDone, CellFailed
from pipelines.runs.png_metadata import sheet_info
from pipelines.runs.sheet_folder import SheetFolder, SheetRecord
from pipelines.runs.snapshot import Snapshot
from pipelines.utils.images import png_bytes


def sheet_png(snapshot: Snapshot) -> bytes:
    """Draw the labelled grid as PNG; cells that are not finished are tinted."""
    pictures = [cell.image if cell.status == "done" else None for cell in snapshot.cells]
    return png_bytes(draw_grid(snapshot.sheet, pictures), info=sheet_info(snapshot.sheet))


def sheet_json(snapshot: Snapshot) -> bytes:
    """Write `sheet.json` as the command line does."""
    record = SheetRecord(snapshot.sheet)
    for event in _ended(snapshot):
        record.add(event)
    return record.text(snapshot.stats, snapshot.winner).encode()


def sheet_zip(snapshot: Snapshot) -> bytes:
    """Zip the folder that the command line writes. PNGs are stored, not packed again."""
    buffer = BytesIO()
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(buffer, "w") as archive:
        folder = Path(name)
        out = SheetFolder(folder, snapshot.sheet)
        for event in _ended(snapshot):
            out.add(event)
        finished = out.finish(snapshot.stats, snapshot.winner)
        if finished.error:
            (folder / "problem.txt").write_text(f"{finished.error}\n", "utf-8")
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
    return buffer.getvalue()


def _ended(snapshot: Snapshot) -> Iterator[CellDone | CellFailed]:
    """Yield how each cell that has ended did."""
    for i, cell in enumerate(snapshot.cells):
        if cell.status == "done" and cell.image is not None:
            yield CellDone(
                snapshot.id, i, cell.request, cell.image, cell.file, cell.seconds, cell.cached,
                cell.warnings,
            )  # fmt: skip
        elif cell.error is not None:
            yield CellFailed(snapshot.id, i, cell.request, cell.error, cell.warnings)


SHEET_FILES: Mapping[str, tuple[str, Callable[[Snapshot], bytes]]] = {
    "png": ("image/png", sheet_png),
    "json": ("application/json", sheet_json),
    "zip": ("application/zip", sheet_zip),
}
"""Ending to media type and maker."""
