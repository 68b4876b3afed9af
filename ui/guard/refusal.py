"""Refusal: answers a request that is not allowed with one line."""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from pipelines.errors import shortened


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    """Answer a request with a status and one line that says why."""
    await PlainTextResponse(reason, status)(scope, receive, send)


def quoted(text: str) -> str:
    """Quote what a client sent, cut where it is long."""
    return repr(shortened(text))
