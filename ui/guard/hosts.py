"""Host check: answers only to the names that this server has.

A page of another site may point its own name at this machine (DNS rebinding); browsers then take
the server for that site. The Host header still has the site's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines import InvalidRequest
from ui.guard import forwarded
from ui.guard.forwarded import USUAL_PORTS, parsed_address
from ui.guard.refusal import quoted, refuse

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>\d{1,5}))?")
# Gradio makes the page's addresses from this, whoever sends it.
_SPACES = b"x-gradio-server"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class HostNames:
    """Names that this server has.

    Attributes:
        names: of the server as it is called from this machine or was asked to listen on.
        allowed: given by whoever runs it, as a proxy calls it; each with its port, "" for the
            usual ones. Pages of these may call the server as its own.
    """

    names: frozenset[str]
    allowed: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, host: str, allowed: Iterable[str]) -> HostNames:
        """Collect the names from what the server listens on and what was allowed besides.

        Raises: InvalidRequest: if a name is none.
        """
        given = []
        for text in (name.strip() for names in allowed for name in names.split(",")):
            parts = host_parts(_as_sent(text))
            if parts is None:
                raise InvalidRequest(
                    f"--allow-host is {quoted(text)}; give a name such as example.org or "
                    "example.org:8443"
                )
            given.append(parts)
        found = parsed_address(host)
        own = () if found is not None and found.is_unspecified else (host.lower(),)
        return cls(frozenset((*_LOOPBACK, *own)), frozenset(given))

    def include(self, host: str, local: str) -> bool:
        """Tell whether a Host header names this server.

        Args:
            local: address at which the request arrived. It may always be named: a site that
                rebinds has a name, not a number.
        """
        parts = host_parts(host)
        if parts is None:
            return False
        name = parts[0]
        if name in self.names or name in {one for one, _ in self.allowed}:
            return True
        # An address may be written, and arrive, in several ways.
        number = parsed_address(name)
        return number is not None and number == parsed_address(local)


class HostCheck:
    """Host check: refuses requests to a name that this server does not have."""

    def __init__(self, app: ASGIApp, names: HostNames) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        local = (scope.get("server") or ("",))[0]
        hosts = headers.getlist("host")
        # A page that rebinds may forward too, through a proxy that adds nothing of its own.
        try:
            named = [*hosts, *forwarded.hosts(headers)]
        except InvalidRequest as error:
            await refuse(scope, receive, send, 400, str(error))
            return
        if len(hosts) == 1 and all(self.names.include(name, local) for name in named):
            kept = [one for one in scope["headers"] if one[0] != _SPACES]
            await self.app({**scope, "headers": kept}, receive, send)
            return
        name = quoted(", ".join(named))
        reason = f"this server is not {name}; start it with --allow-host NAME if it should be"
        await refuse(scope, receive, send, 400, reason)


def host_parts(text: str) -> tuple[str, str] | None:
    """Split a Host header into name and port, "" for a usual one; None if it is no host."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    port = match["port"] or ""
    name = (match["six"] or match["name"]).lower().removesuffix(".")
    return name, "" if port in USUAL_PORTS else port


def _as_sent(text: str) -> str:
    """Write a name as browsers send it: numbers of IPv6 in brackets, letters beyond ASCII coded."""
    if text.count(":") > 1 and parsed_address(text) is not None:
        return f"[{text}]"
    try:
        return text if text.isascii() else text.encode("idna").decode()
    except UnicodeError:
        return text
