"""Snapshot JSON: describes a run to the page, in one small JSON object for each look at it.

Everything here is a pure function of a Snapshot, so that the page can be tested without one.
"""

from __future__ import annotations

import base64
import io
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from pipelines.request.labels import axis_title, column_texts, index_text, row_texts
from pipelines.request.sheet import Sheet
from pipelines.runs.png_metadata import settings_text
from pipelines.runs.snapshot import CellView, Snapshot
from pipelines.runs.warning_lines import at_most, warning_lines
from pipelines.utils.images import png_bytes

log = logging.getLogger(__name__)

PREVIEW_SIDE = 384
_PNG_SIDE = 256
_PREVIEWS_KEPT = 64


class Previews:
    """Preview cache: encodes each preview once, however many pages watch. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: OrderedDict[tuple[str, int], tuple[Image, int, str]] = OrderedDict()
        self._count = 0

    def newest(self, run: str, cell: int, image: Image) -> tuple[int, str]:
        """Number an image, each with a new number, and encode it as a data URI."""
        with self._lock:
            known = self._newest.get((run, cell))
            if known is None or known[0] is not image:
                self._count += 1
                known = (image, self._count, preview_url(image))
                self._newest[run, cell] = known
                while len(self._newest) > _PREVIEWS_KEPT:
                    self._newest.popitem(last=False)
            return known[1], known[2]


def describe(snapshot: Snapshot, seen: Sequence[str], previews: Previews) -> dict[str, Any]:
    """Describe the run as the page draws it, without what the page already has.

    Args:
        seen: the key of every cell as last drawn; [] if nothing is drawn yet.
    """
    cells = []
    indices: list[tuple[int, ...]] = []
    for i, cell in enumerate(snapshot.cells):
        number, preview = _preview(snapshot.id, i, cell, previews)
        key = f"{cell.status}:{cell.step}:{number}"
        known = seen[i] if i < len(seen) else ""
        if key == known:
            continue  # most looks find most cells unchanged: nothing is put into words for them
        indices = indices or snapshot.sheet.indices()
        drawn = _cell(snapshot.id, i, cell) | {"key": key}
        drawn["label"] = index_text(snapshot.sheet, indices[i])
        if number:
            drawn["preview"] = number
            if known.rpartition(":")[2] != str(number):
                drawn["src"] = preview
        cells.append(drawn)
    return {
        "found": True,
        "id": snapshot.id,
        "status": snapshot.status,
        "active": not snapshot.finished,
        "line": status_line(snapshot),
        "fraction": _fraction(snapshot),
        "count": len(snapshot.cells),
        # Where cells say themselves why they failed, the run need not say it again.
        "error": None if any(cell.error for cell in snapshot.cells) else snapshot.error,
        "cells": cells,
        "warnings": _warnings(snapshot),
        "winner": snapshot.winner,
        # Headers do not change: a page that has drawn the run has them.
        **({} if seen else {"table": table(snapshot.sheet)}),
    }


def _warnings(snapshot: Snapshot) -> list[str]:
    """What was left out of the run, and what of its cells is not carried out, a line each."""
    found = {i: cell.warnings for i, cell in enumerate(snapshot.cells) if cell.warnings}
    warnings = warning_lines(snapshot.sheet, found) if found else []
    return at_most([*snapshot.left_out, *warnings])


def table(sheet: Sheet) -> dict[str, Any] | None:
    """Write the headers of a sheet drawn as a table; None where every picture has its own line."""
    if len(sheet.axes) < 2:
        return None
    return {
        "rows": row_texts(sheet),
        "columns": column_texts(sheet),
        "row_title": " · ".join(axis_title(axis) for axis in sheet.axes[:-1]),
        "column_title": axis_title(sheet.axes[-1]),
    }


def status_line(snapshot: Snapshot) -> str:
    """Write the run's state in one line of plain words, and what keeps it or befell it."""
    if snapshot.notice is None:
        return _state_line(snapshot)
    return f"{_state_line(snapshot)} · {snapshot.notice}"


def _state_line(snapshot: Snapshot) -> str:
    count = len(snapshot.cells)
    done = sum(cell.status == "done" for cell in snapshot.cells)
    failed = sum(cell.status == "failed" for cell in snapshot.cells)
    match snapshot.status:
        case "queued":
            return "Waiting for another run to finish"
        case "running":
            return _running_line(snapshot)
        case "done" if failed:
            return f"Made {done} of {_pictures(count)}; {failed} failed"
        case "done" if all(cell.cached for cell in snapshot.cells):
            return f"Found {_pictures(count)} made before with the same settings"
        case "done":
            # A run from the store was only read just now; how long it took stands in its stats.
            return f"Made {_pictures(count)} in {duration(snapshot.stats.seconds)}"
        case "stopped":
            unit = _unit(snapshot.cells).lower()
            reached = f" at {unit} {snapshot.evaluations} of {snapshot.evaluations_total}"
            kept = f"; kept {_pictures(done)}" if done else ""
            return f"Stopped{reached if snapshot.evaluations else ''}{kept}"
        case "failed":
            return "Could not make this"


SHORT = 9.95
"""Times below are said in tenths of a second."""


def duration(seconds: float) -> str:
    """Write a time as people say it: 0.8 s, 12 s, 3 min 5 s."""
    if seconds < SHORT:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def file_name(prompt: str, seed: int) -> str:
    """Name a downloaded picture: its prompt, as far as file names allow, and its seed."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-")
    return f"{words or 'picture'}-{seed}.png"


def preview_url(image: Image) -> str:
    """Encode a preview as a data URI: lossless while small, a smaller JPEG where that is heavy."""
    if max(image.size) <= _PNG_SIDE:
        kind, content = "png", png_bytes(image, compress_level=1)
    else:
        small = image.copy()
        small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        buffer = io.BytesIO()
        small.convert("RGB").save(buffer, "JPEG", quality=85)
        kind, content = "jpeg", buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture_url(run: str, cell: int) -> str:
    """Build the address of a finished picture, relative to the page."""
    return f"pictures/{run}/{cell}.png"


def _preview(run: str, index: int, cell: CellView, previews: Previews) -> tuple[int, str]:
    """Number and data URI of a cell's newest preview; 0 and "" where it has none to show."""
    if cell.status == "done" or cell.image is None:
        return 0, ""
    try:
        return previews.newest(run, index, cell.image)
    except Exception:  # such as no memory; the other cells are shown all the same
        log.exception("cell %d of run %s has no preview on the page", index, run)
        return 0, ""


def _cell(run: str, index: int, cell: CellView) -> dict[str, Any]:
    request = cell.request
    drawn: dict[str, Any] = {
        "index": index,
        "status": cell.status,
        "step": cell.step,
        "steps": cell.steps,
        "width": request.width,
        "height": request.height,
        # Browsers' numbers hold 53 bits.
        "seed": request.seed if request.seed < 2**53 else str(request.seed),
        "prompt": request.prompt,
        "error": cell.error,
    }
    if cell.status == "done":
        drawn |= {
            "src": picture_url(run, index),
            "file": file_name(request.prompt, request.seed),
            "settings": settings_text(request),
            "request": request.to_json(),
            "note": "made before" if cell.cached else duration(cell.seconds),
        }
    return drawn


def _fraction(snapshot: Snapshot) -> float | None:
    total = snapshot.evaluations_total
    return min(1.0, snapshot.evaluations / total) if total else None


def _running_line(snapshot: Snapshot) -> str:
    if not snapshot.evaluations:
        return "Getting the model ready"
    unit = _unit(snapshot.cells)
    parts = [f"{unit} {snapshot.evaluations} of {snapshot.evaluations_total}"]
    if len(snapshot.cells) > 1:
        parts.append(_pictures(len(snapshot.cells)))
    if snapshot.rate:
        parts.append(f"{snapshot.rate:.1f} {unit.lower()}s/s")
    if snapshot.seconds_left is not None:
        parts.append(f"{duration(snapshot.seconds_left)} left")
    return " · ".join(parts)


def _unit(cells: Sequence[CellView]) -> str:
    """Step, unless some sampler asks the denoiser more than once a step."""
    return "Step" if all(cell.steps in (0, cell.request.steps) for cell in cells) else "Evaluation"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


NOT_FOUND: Mapping[str, Any] = {"found": False, "active": False, "cells": []}
