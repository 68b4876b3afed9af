"""Relative page: Gradio's page with addresses that hold wherever a proxy puts it.

Gradio writes into its page the address at which it believes to be. Behind a proxy that does not
say what was asked for, it is wrong; where the page lies, the browser knows.
"""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROOT = re.compile(rb'const root = "(?P<address>https?://[^"]*)"')
_BASE = b'<base href="./" />'
_MANIFEST = b'href="/manifest.json"'


class RelativePage:
    """Relative page: rewrites the addresses in the page itself; all else passes.

    It stands inside Gradio's compression.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root_path = scope.get("root_path", "")
        is_page = scope["type"] == "http" and scope["method"] == "GET"
        if not is_page or scope["path"] != f"{root_path}/":
            await self.app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def rewrite(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = relative(bytes(body), root_path)
            MutableHeaders(raw=start["headers"])["content-length"] = str(len(page))
            await send(start)
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, rewrite)


def relative(page: bytes, root_path: str) -> bytes:
    """Make the addresses of a page relative to itself, or to the root path where that is known."""
    root = root_path.encode() or b"./"
    told = _ROOT.search(page)
    if told is not None:
        # As the root itself, and before the files of components.
        page = page.replace(b'"' + told["address"] + b'"', b'"' + root + b'"')
        page = page.replace(b'"' + told["address"] + b"/", b'"' + root.rstrip(b"/") + b"/")
    # Browsers look for an icon at the root of the site, if none is named.
    base = b'<base href="%s/" /><link rel="icon" href="favicon.ico" />' % root.rstrip(b"/")
    page = page.replace(_BASE, base, 1)
    return page.replace(_MANIFEST, b'href="./manifest.json"', 1)
