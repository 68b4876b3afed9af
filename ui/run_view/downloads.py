"""Sheet downloads: write a sheet as a labelled PNG, as JSON or as a ZIP of everything."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.runs.contact_sheet import draw_grid
from pipelines.runs.events import CellDone, CellFailed
from pipelines.runs.png_metadata import sheet_info
from pipelines.runs.sheet_folder import SheetFolder, SheetRecord
from pipelines.runs.snapshot import Snapshot
from pipelines.utils.images import png_bytes

if TYPE_CHECKING:
    from PIL.Image import Image


def sheet_png(snapshot: Snapshot) -> bytes:
    """Draw the labelled grid as PNG; cells that are not finished are tinted."""
    grid = draw_grid(snapshot.sheet, _Pictures(snapshot))
    return png_bytes(grid, info=sheet_info(snapshot.sheet))


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


class _Pictures(Sequence["Image | None"]):
    """Pictures of a run's finished cells, one at a time: all are never held."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._cells = snapshot.cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, place: Any) -> Any:
        cell = self._cells[place]
        return cell.image if cell.status == "done" else None


def _ended(snapshot: Snapshot) -> Iterator[CellDone | CellFailed]:
    """Yield how each cell that has ended did."""
    for i, cell in enumerate(snapshot.cells):
        image = cell.image if cell.status == "done" else None
        if image is not None:
            yield CellDone(
                snapshot.id, i, cell.request, image, cell.file, cell.seconds, cell.cached,
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
