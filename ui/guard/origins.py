"""Origin check: lets no page of another site read or start anything.

Any page that is open in a browser can send requests to a server on the same machine. Browsers
say which page it was: `Origin` with everything that may change something, `Sec-Fetch-Site` with
all requests. Programs say neither, and are served.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.guard.hosts import HostNames, host_parts
from ui.guard.refusal import quoted, refuse

_ELSEWHERE = ("cross-site", "same-site")


class OriginCheck:
    """Origin check: refuses what a page of another site asks for, preflights included."""

    def __init__(self, app: ASGIApp, names: HostNames) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = foreign(scope, self.names)
        if reason is None:
            await self.app(_from_page(scope), receive, send)
        else:
            await refuse(scope, receive, send, 403, reason)


def foreign(scope: Scope, names: HostNames) -> str | None:
    """Say why a request comes from another site's page; None if it does not.

    A link from elsewhere to the page may be followed.
    """
    method, headers = scope["method"], Headers(scope=scope)
    host = host_parts(headers.get("host", ""))
    # A page that came unencrypted may be anyone's. The other way round says nothing: a proxy may
    # have decrypted the request, and not have said so.
    plain = "http:" if scope["scheme"] == "https" else None
    for origin in headers.getlist("origin"):
        parts = _origin_parts(origin)
        same = parts == host and not (plain and origin.lower().startswith(plain))
        if parts is None or not (same or parts in names.allowed):
            return f"not for pages of {quoted(origin)}; --allow-host NAME allows a proxy's name"
    if headers.get("sec-fetch-site") in _ELSEWHERE:
        followed = (
            method in ("GET", "HEAD")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if not followed or scope["path"] != "/":
            return "not for pages of another site"
    return None


def _from_page(scope: Scope) -> Scope:
    """Take a request of a page of ours as sent to where the page is.

    A proxy may not have said so; Gradio answers with addresses of files, which must lie there.
    """
    origin = Headers(scope=scope).get("origin")
    if origin is None:
        return scope
    url = urlsplit(origin)
    kept = [one for one in scope["headers"] if one[0] != b"host"]
    headers = [(b"host", url.netloc.encode("latin-1")), *kept]
    return {**scope, "scheme": url.scheme, "headers": headers}


def _origin_parts(origin: str) -> tuple[str, str] | None:
    """Split an Origin into name and port, as `host_parts`; None for `null` and what is no page."""
    try:
        url = urlsplit(origin)
    except ValueError:
        return None
    return host_parts(url.netloc) if url.scheme in ("http", "https") else None
