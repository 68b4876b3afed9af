"""Earlier sheet: what a folder holds of one, so that a later one never mixes with it."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.errors import ContactSheetError, InvalidRequest
from pipelines.request.labels import file_stem
from pipelines.request.sheet import Sheet


def files_to_replace(folder: Path, sheet: Sheet, *, replace: bool) -> list[Path]:
    """List the files of another sheet that must go before this one is written into its folder.

    A folder of this sheet itself, whole or not, is gone on with: its cells have the same names.
    Args:
        replace: whether another sheet may be replaced.
    Raises: InvalidRequest: if there is another one and it may not, or pictures of none that is
        known, which nobody replaces.
    """
    cells = sorted((folder / "cells").glob("*.png"))
    record = folder / "sheet.json"
    if not record.exists():
        own = {f"{file_stem(sheet, index, i)}.png" for i, index in enumerate(sheet.indices())}
        strange = [file.name for file in cells if file.name not in own]
        if strange:
            raise InvalidRequest(
                f"{folder / 'cells'} holds {strange[0]!r}, which is no cell of this sheet, and "
                "there is no sheet.json that says of which; choose another folder with --out"
            )
        return []
    known, written = _read(record)
    if known == sheet:
        return []
    if not replace:
        raise InvalidRequest(
            f"{folder} holds another sheet already; choose another folder with --out, or replace "
            "that sheet with --force"
        )
    return [*(file for file in cells if f"cells/{file.name}" in written),
            *(file for file in (folder / "sheet.png", record) if file.exists())]  # fmt: skip


def _read(record: Path) -> tuple[Sheet | None, set[str]]:
    """Read the sheet of a `sheet.json`, None where none can be made of it, and its cells' files."""
    try:
        found = json.loads(record.read_bytes())
        written = {str(cell["file"]) for cell in found["cells"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InvalidRequest(f"{record} is no sheet's; choose another folder with --out") from None
    try:
        return Sheet.model_validate(found.get("sheet")), written
    except (ContactSheetError, ValueError):
        return None, written  # of a version that knew other settings
