"""Security headers: adds them to every answer, without touching streams."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # The page needs nothing from elsewhere; with this, no browser would fetch it either.
    # Gradio builds its templates with `new Function` and styles with inline CSS.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' blob: data:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    # Neither a picture nor a window of this page is any other site's.
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_SHARING = b"access-control-"
_STREAM = b"text/event-stream"
# Proxies like nginx keep an answer until they have all of it; what happens now is for now.
_UNBUFFERED = (b"x-accel-buffering", b"no")


class SecurityHeaders:
    """Security headers: adds ours and takes away Gradio's leave for other sites to read along."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [
                    one for one in message.get("headers", [])
                    if not one[0].lower().startswith(_SHARING)
                ]  # fmt: skip
                streams = any(
                    name.lower() == b"content-type" and value.startswith(_STREAM)
                    for name, value in own
                )
                told = [_UNBUFFERED] if streams else []
                message = {**message, "headers": [*own, *self.headers, *told]}
            await send(message)

        await self.app(scope, receive, send_with_headers)
