"""Run of a sheet: records events for any number of watching threads, owned by none of them.

The worker thread writes (`publish`), pages and the command line read (`events`, `snapshot`).
Whoever watches may come late, leave or come back: every watcher sees all events from the
first, except previews that a newer preview of the same cell, or its picture, has replaced.
Pictures that have files stay in memory within a budget only.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from pipelines.errors import StorageUnavailable
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    CellPreview,
    CellProgress,
    Event,
    RunFinished,
    RunNotice,
    RunStarted,
    RunStatus,
    Stats,
    Warnings,
)
from pipelines.runs.held_picture import HeldPicture, HeldPictures
from pipelines.runs.snapshot import CellView, Snapshot
from pipelines.samplers import SAMPLERS

if TYPE_CHECKING:
    from PIL.Image import Image


LOOK_SECONDS = 0.5  # between two looks at a run that another studio makes


class Run:
    """Handle of one run, `listed` in the store or not. Any thread may call its methods.

    Args:
        look: publishes what is new of a run that another studio makes; None for our own.
    """

    def __init__(
        self,
        sheet: Sheet,
        cells: list[Request],
        id: str | None = None,
        filmed: frozenset[int] = frozenset(),
        *,
        listed: bool = True,
        look: Callable[[Run], None] | None = None,
        warnings: Mapping[int, Warnings] | None = None,
        left_out: Sequence[str] = (),
    ) -> None:
        self.id = id or uuid.uuid4().hex[:12]
        self.sheet = sheet
        self.filmed = filmed
        self.listed = listed
        self.winner: int | None = None
        self.left_out = tuple(left_out)
        self._look = look
        self._looked = 0.0
        self._notice: str | None = None
        self._on_stop: Callable[[], None] = lambda: None
        self._films: dict[int, dict[int, Image]] = {cell: {} for cell in filmed}
        self.warnings = dict(warnings or {})
        self._cells = [
            CellView(request, warnings=self.warnings.get(i, ())) for i, request in enumerate(cells)
        ]
        self._events: list[Event | _CellDone | None] = []
        self._pictures = HeldPictures()
        self._preview_at: dict[int, int] = {}
        self._status: RunStatus = "queued"
        self._stats = Stats()
        self._error: str | None = None
        self._changed = threading.Condition()
        self._stop = False
        self._started: float | None = None
        self._first_step: float | None = None
        self._ended: float | None = None

    @property
    def requests(self) -> list[Request]:
        """Requests of all cells, in axis order."""
        return [cell.request for cell in self._cells]

    def film(self, cell: int) -> dict[int, Image]:
        """Look up a cell's previews by evaluation: the picture had denoising ended there.

        Only for cells that were submitted to be filmed, and only while the run is in memory.
        """
        with self._changed:
            return dict(self._films.get(cell, {}))

    @property
    def stop_asked(self) -> bool:
        """Whether someone asked for a stop."""
        return self._stop

    def stop(self) -> None:
        """Ask the worker to stop before its next batch. Finished cells stay.

        A run that waits ends at once; one that another studio makes is stopped there only.
        """
        if self._look is not None and not self.snapshot().finished:
            self.publish(RunNotice(self.id, "Another studio makes this run; stop it there"))
            return
        self._stop = True
        self._on_stop()

    def on_stop(self, call: Callable[[], None]) -> None:
        """Name what `stop` calls as well, such as what takes the run out of a queue."""
        self._on_stop = call

    @property
    def elsewhere(self) -> bool:
        """Whether another studio makes it."""
        return self._look is not None

    def look(self) -> None:
        """Take note of what another studio has made of it since the last look."""
        now = time.monotonic()
        with self._changed:
            if self._look is None or now - self._looked < LOOK_SECONDS or self._ended is not None:
                return
            self._looked = now
        self._look(self)

    @property
    def picture_bytes(self) -> int:
        """Bytes of the pictures that it holds in memory, previews and films among them."""
        with self._changed:
            held = [cell.picture.held for cell in self._cells if cell.picture is not None]
            held += [image for film in self._films.values() for image in film.values()]
        unique = {id(image): image for image in held if image is not None}
        return sum(image.width * image.height * 3 for image in unique.values())

    def publish(self, event: Event) -> None:
        """Record an event and wake all who watch. Only the worker calls this."""
        with self._changed:
            self._apply(event)
            kept: Event | _CellDone = event
            if isinstance(event, CellPreview | CellDone) and event.cell not in self._films:
                older = self._preview_at.pop(event.cell, None)
                if older is not None:
                    self._events[older] = None
            if isinstance(event, CellPreview):
                self._preview_at[event.cell] = len(self._events)
            elif isinstance(event, CellDone):
                picture = self._cells[event.cell].picture
                assert picture is not None, "a finished cell has a picture"
                kept = _CellDone.of(event, picture)
                self._pictures.add(picture)
            self._events.append(kept)
            self._changed.notify_all()

    def tell(self, text: str | None) -> None:
        """Publish a notice, if it is another than the last and the run is not over."""
        if self._ended is None and self._notice != text:
            self.publish(RunNotice(self.id, text))

    def _apply(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._status, self._started = "running", time.monotonic()
            case CellProgress(cell=i, step=step, steps=steps):
                self._first_step = self._first_step or time.monotonic()
                self._cells[i] = replace(self._cells[i], status="running", step=step, steps=steps)
            case CellPreview(cell=i, step=step, image=image):
                if i in self._films:
                    self._films[i][step] = image
                self._cells[i] = replace(self._cells[i], picture=HeldPicture(image))
            case CellDone(cell=i):
                # A run read back from the store has had no progress events.
                steps = self._cells[i].steps or _evaluations(event.request)
                self._cells[i] = replace(
                    self._cells[i],
                    request=event.request,
                    status="done",
                    step=steps,
                    steps=steps,
                    picture=HeldPicture(event.image, event.file),
                    file=event.file,
                    seconds=event.seconds,
                    cached=event.cached,
                    warnings=event.warnings,
                )
            case CellFailed(cell=i, error=error):
                self._cells[i] = replace(self._cells[i], status="failed", error=error)
            case RunNotice(text=text):
                self._notice = text
            case RunFinished(status=status, stats=stats, error=error):
                self._status, self._stats, self._error = status, stats, error
                self._ended = time.monotonic()

    def events(self) -> Iterator[Event]:
        """Yield every event from the first, waiting for more until the run has finished."""
        position = 0
        while True:
            with self._changed:
                if position == len(self._events):
                    self._changed.wait(None if self._look is None else LOOK_SECONDS)
                came = self._events[position:]
            position += len(came)
            if not came:
                self.look()
            for kept in came:
                event = kept.event() if isinstance(kept, _CellDone) else kept
                if event is not None:
                    yield event
                if isinstance(event, RunFinished):
                    return

    def watch(self) -> Iterator[Event]:
        """Yield events as `events` does; leaving early, as Ctrl+C does, stops the run."""
        try:
            yield from self.events()
        finally:
            self.stop()

    def wait_for_change(self, version: int, timeout: float) -> Snapshot:
        """Wait for a snapshot newer than `version`, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._events) > version, timeout)
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """Take a snapshot of the run as it stands now."""
        with self._changed:
            total = sum(
                cell.steps or _evaluations(cell.request) for cell in self._cells if not cell.cached
            )
            done = sum(cell.step for cell in self._cells if not cell.cached)
            now = self._ended or time.monotonic()
            rate = 0.0
            if self._first_step is not None and done > 1 and now > self._first_step:
                rate = (done - 1) / (now - self._first_step)
            return Snapshot(
                id=self.id,
                sheet=self.sheet,
                status=self._status,
                cells=tuple(self._cells),
                stats=self._stats,
                error=self._error,
                version=len(self._events),
                evaluations=done,
                evaluations_total=total,
                seconds=0.0 if self._started is None else now - self._started,
                rate=rate,
                seconds_left=(total - done) / rate if rate else None,
                winner=self.winner,
                left_out=self.left_out,
                notice=self._notice,
            )


@dataclass(frozen=True, slots=True)
class _CellDone:
    """A CellDone without its picture, which may be let go and read again."""

    make: Callable[[Image], CellDone]
    picture: HeldPicture

    @classmethod
    def of(cls, event: CellDone, picture: HeldPicture) -> _CellDone:
        values = {one.name: getattr(event, one.name) for one in fields(event)}
        del values["image"]
        return cls(lambda image: CellDone(image=image, **values), picture)

    def event(self) -> CellDone:
        image = self.picture.image
        if image is None:
            raise StorageUnavailable(f"{self.picture.file} is gone; run it again to make it anew")
        return self.make(image)


def _evaluations(request: Request) -> int:
    """Denoiser evaluations a cell takes."""
    return SAMPLERS[request.sampler].evaluations(request.steps)
