"""Interruption: ends a command at Ctrl+C or SIGTERM in good order, and at the second at once.

The exit status is 128 and the signal's number, as shells have it: 130 after Ctrl+C, 143 after
SIGTERM. Nothing is printed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_ENDERS: list[Callable[[], None]] = []
_RECEIVED: list[int] = []


def install() -> None:
    """Handle the signals from now on; one that is ignored, as under nohup, stays so.

    Python's own way, an error at whatever line is being run, leaves a half-imported library or a
    thread in the middle of a kernel behind, and the process ends with a traceback or aborts.
    """
    for one in SIGNALS:
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, _handle)


def leave_if_interrupted() -> None:
    """End the command with the status of the signal that came, if one did.

    Raises: typer.Exit.
    """
    if _RECEIVED:
        import typer  # not before the signals are handled

        raise typer.Exit(_RECEIVED[0])


@contextmanager
def ended_by(end: Callable[[], None]) -> Iterator[None]:
    """Let the first signal call `end` while the block runs, which then ends by itself.

    Outside such blocks nothing is worth waiting for, and a signal ends the process at once.
    """
    _ENDERS.append(end)
    try:
        yield
    finally:
        _ENDERS.remove(end)


def _handle(number: int, frame: FrameType | None) -> None:
    first = not _RECEIVED
    _RECEIVED.append(128 + number)
    if first and _ENDERS:
        for end in tuple(_ENDERS):
            end()
        return
    _leave(_RECEIVED[0])


def _leave(status: int) -> None:
    """End the process without the end of its threads, which would abort it."""
    files = sys.modules.get("pipelines.utils.files")
    if files is not None:
        files.discard_drafts()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
