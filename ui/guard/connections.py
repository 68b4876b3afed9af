"""Connections: closes those on which no request arrives, and limits how many there are."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0
"""Time from the connection's start, or from a request's first byte, to the end of its headers."""
CONNECTIONS_MAX = 500
"""Connections at a time; every page holds some for as long as it is open."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 protocol that waits for a request's headers, but not for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()  # the headers are here
        elif answered and self._waiting is None:
            self._wait()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()


def limits() -> dict[str, Any]:
    """List uvicorn's options."""
    return {"http": PatientProtocol, "limit_concurrency": CONNECTIONS_MAX}
