"""Refusal: answers a request that is not allowed with one line."""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

CUT = 200
"""Characters of a client's own text that an answer repeats at most."""


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    """Answer a request with a status and one line that says why."""
    await PlainTextResponse(reason, status)(scope, receive, send)


def quoted(text: str) -> str:
    """Quote what a client sent, cut where it is long."""
    return repr(text if len(text) <= CUT else f"{text[: CUT - 1]}…")
