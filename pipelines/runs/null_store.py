"""Null store: keeps nothing. Stands in for `Store` where no outputs folder is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import RunStatus, Stats, Warnings
from pipelines.runs.run import Run
from pipelines.runs.storage.database import Told
from pipelines.runs.store import RunSummary, Store

if TYPE_CHECKING:
    from PIL.Image import Image


class NullStore:
    """A store without a folder: what goes in is gone, what is asked for was never there."""

    keeps = False
    folder: Path | None = None
    notices: Sequence[str] = ()

    def close(self) -> None:
        """Nothing is open."""

    def has(self, address: str) -> bool:
        return False

    def path(self, address: str) -> Path | None:
        return None

    def picture(self, address: str, request: Request | None = None) -> Image | None:
        return None

    def save_picture(self, address: str, image: Image, request: Request) -> Path | None:
        return None

    def begin(
        self,
        run: str,
        sheet: Sheet,
        cells: Sequence[Request],
        patience: float = 0.0,
        told: Told | None = None,
    ) -> None:
        """No record is kept."""

    def started(self, run: str, patience: float = 0.0) -> None:
        """No record is kept."""

    def cell_done(
        self,
        run: str,
        cell: int,
        *,
        address: str | None,
        seconds: float,
        cached: bool,
        error: str | None = None,
        patience: float = 0.0,
        told: Told | None = None,
        warnings: Warnings = (),
    ) -> bool:
        """No record is kept, and none is missed."""
        return True

    def end(
        self,
        run: str,
        status: RunStatus,
        stats: Stats,
        error: str | None,
        patience: float = 0.0,
        told: Told | None = None,
    ) -> bool:
        """No record is kept, and none is missed."""
        return True

    def pick_winner(self, run: str, cell: int | None) -> None:
        """No record is kept."""

    def cell(self, run: str, cell: int) -> tuple[Request, Path | None] | None:
        return None

    def restore(self, id: str) -> Run | None:
        return None

    def recent(self, limit: int) -> list[RunSummary]:
        return []


AnyStore = Store | NullStore
"""Where finished work goes."""
