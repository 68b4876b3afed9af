"""Public address: makes of each request what the client asked, as a trusted proxy tells it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines import InvalidRequest
from ui.guard.forwarded import NAMES, Proxies, Told, told_by
from ui.guard.refusal import refuse
from ui.guard.root_path import address_below

log = logging.getLogger(__name__)


class PublicAddress:
    """Public address: scheme, host, client and root path of each request, whoever forwarded it.

    What follows sees the address below the root path, and the root path in `scope["root_path"]`;
    forwarded headers are gone, as Gradio would believe them of anyone.

    Args:
        proxies: whose forwarded headers are believed.
        root_path: below which a proxy serves this server, where it does not say so itself.
        is_route: whether there is anything at an address.
    """

    def __init__(
        self, app: ASGIApp, proxies: Proxies, root_path: str, is_route: Callable[[str], bool]
    ) -> None:
        self.app = app
        self.proxies = proxies
        self.root_path = root_path
        self.is_route = is_route
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            told = self._told(scope)
        except InvalidRequest as error:
            await refuse(scope, receive, send, 400, str(error))
            return
        root_path = self.root_path if told.root_path is None else told.root_path
        # A proxy that puts its own slash before ours sends two.
        path = address_below(root_path, "/" + scope["path"].lstrip("/"), self.is_route)
        if not path:
            query = scope["query_string"].decode("latin-1")
            address = f"{root_path}/?{query}" if query else f"{root_path}/"
            await RedirectResponse(address)(scope, receive, send)
            return
        asked = {
            **scope, "path": path, "root_path": root_path,
            "scheme": told.scheme or scope["scheme"], "headers": _headers(scope, told.host),
        }  # fmt: skip
        asked.pop("raw_path", None)  # nothing here reads it, and it would be another one
        if told.client:
            asked["client"] = (told.client, 0)
        await self.app(asked, receive, send)

    def _told(self, scope: Scope) -> Told:
        headers = Headers(scope=scope)
        if not any(name in headers for name in NAMES):
            return Told()
        peer = (scope.get("client") or ("",))[0]
        if self.proxies.include(peer):
            return told_by(headers, self.proxies)
        if not self._warned:
            self._warned = True
            log.warning(
                "%s forwards requests and is not believed; if it is your proxy, start with "
                "--trusted-proxy %s", peer, peer,
            )  # fmt: skip
        return Told()


class BelowRoot:
    """Below the root path: hands requests on with their whole path, as ASGI apps expect it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "path": scope["root_path"] + scope["path"]}, receive, send)


def _headers(scope: Scope, host: str | None) -> list[tuple[bytes, bytes]]:
    """Leave out what was forwarded, and put the host there that was asked for."""
    gone = {name.encode() for name in (*NAMES, *(("host",) if host else ()))}
    kept = [one for one in scope["headers"] if one[0] not in gone]
    return [(b"host", host.encode("latin-1")), *kept] if host else kept
