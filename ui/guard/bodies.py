"""Body check: reads a request's body within limits, and checks it, before anything parses it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines import InvalidRequest
from ui.guard.json_shape import checked_json
from ui.guard.refusal import refuse
from ui.uploads import sweep_uploads

JSON_BYTES_MAX = 32 * 2**20
"""A request of the ControlNet tab holds two maps as they were made and as they are drawn."""
UPLOAD_BYTES_MAX = 11 * 2**20
"""A file as large as uploads may be, and what stands round it."""
UPLOADS_BYTES_MAX = 2**30
"""Files that were sent and made for clients, all together; the oldest give way."""
FORM_BYTES_MAX = 16 * 2**10
_UPLOADS = "/gradio_api/upload"
_LIMITS = {_UPLOADS: UPLOAD_BYTES_MAX, "/login": FORM_BYTES_MAX}
"""Of the routes that take something else than JSON."""
PAUSE_SECONDS = 15.0
"""Between two pieces of a body."""
PATIENCE_SECONDS = 20.0
"""For any body; a longer one has as long as SLOWEST takes for what has come of it."""
SLOWEST = 16 * 2**10
"""Bytes a second that a body must have on the whole."""
_SMALL = 64 * 2**10
_SLOW = "the request came too slowly"
_DRAIN_SECONDS = 10.0
_BODILESS = ("GET", "HEAD", "OPTIONS")


class BodyTooLarge(Exception):
    """More bytes than a route takes."""


class BodyTooSlow(Exception):
    """A body that takes longer than anybody's line."""


class BodyCheck:
    """Body check: refuses bodies that are too large, too deep, or name files of the machine.

    Args:
        is_upload: whether a path is that of a file which clients sent.
    """

    def __init__(self, app: ASGIApp, is_upload: Callable[[str], bool]) -> None:
        self.app = app
        self.is_upload = is_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in _BODILESS:
            await self.app(scope, receive, send)
            return
        route = scope["path"].rstrip("/")
        limit = _LIMITS.get(route, JSON_BYTES_MAX)
        declared = Headers(scope=scope).get("content-length", "")
        try:
            if declared.isdecimal() and (len(declared) > 12 or int(declared) > limit):
                raise BodyTooLarge
            body = await _read(receive, limit)
            if route == _UPLOADS:
                await asyncio.to_thread(sweep_uploads, UPLOADS_BYTES_MAX)
            if body and route not in _LIMITS:
                body = await self._checked(body)
        except BodyTooLarge:
            await _drain(receive)
            reason = f"the request is larger than {limit / 2**20:.3g} MB"
            await refuse(scope, receive, send, 413, reason)
            return
        except BodyTooSlow:
            answer = PlainTextResponse(_SLOW, 408, {"connection": "close"})
            await answer(scope, receive, send)
            return
        except InvalidRequest as error:
            await refuse(scope, receive, send, 400, str(error))
            return
        told = {b"content-length": str(len(body)).encode()}
        if body and route not in _LIMITS:
            told[b"content-type"] = b"application/json"  # whatever it was called, that it is
        await self.app(_with_headers(scope, told), _replayed(body, receive), send)

    async def _checked(self, body: bytes) -> bytes:
        if len(body) <= _SMALL:
            return checked_json(body, self.is_upload)
        return await asyncio.to_thread(checked_json, body, self.is_upload)


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    begun = time.monotonic()
    while True:
        left = begun + PATIENCE_SECONDS + size / SLOWEST - time.monotonic()
        try:
            async with asyncio.timeout(min(left, PAUSE_SECONDS)):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow from None
        if message["type"] != "http.request":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge
        if not message.get("more_body"):
            return b"".join(parts)


async def _drain(receive: Receive) -> None:
    """Read what is still on its way, or the client would see its connection break, not why."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(scope: Scope, told: Mapping[bytes, bytes]) -> Scope:
    """Describe the body as it is handed on."""
    kept = [one for one in scope["headers"] if one[0] not in (b"transfer-encoding", *told)]
    return {**scope, "headers": [*kept, *told.items()]}
