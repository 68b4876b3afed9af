"""Forwarded headers: reads what a trusted proxy says of the request that it was sent.

Any client may send these headers, so they are read only where the connection comes from a proxy
that was named; of a list of several proxies' entries, only what trusted ones added.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from pipelines import InvalidRequest
from ui.guard.refusal import quoted
from ui.guard.root_path import read_root_path

NAMES = frozenset(
    ("forwarded", *(f"x-forwarded-{one}" for one in ("for", "proto", "host", "port", "prefix")))
)
"""Headers in which proxies tell of a request; Gradio reads some, whoever sends them."""
_PAIR = re.compile(
    r"\s*+(?P<name>[!#$%&'*+.^`|~\w-]++)=(?:\"(?P<quoted>(?:[^\"\\]|\\.)*+)\"|(?P<plain>[^\s;,\"]*+))"
    r"\s*+(?P<end>[;,]|$)"
)
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](?::\d+)?|(?P<four>[\d.]+):\d+")
USUAL_PORTS = ("80", "443")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Proxies:
    """Trusted proxies: addresses whose forwarded headers are believed."""

    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, given: Iterable[str]) -> Proxies:
        """Read addresses and networks. Raises: InvalidRequest: if one is neither."""
        return cls(tuple(_network(text.strip()) for one in given for text in one.split(",")))

    def include(self, address: str) -> bool:
        """Tell whether an address is one of theirs."""
        found = parsed_address(address)
        return found is not None and any(found in one for one in self.networks)


@dataclass(frozen=True, slots=True)
class Told:
    """What proxies say of a request; None where they say nothing.

    Attributes:
        client: address that sent it to the outermost trusted proxy.
        scheme: `http` or `https`, as the client asked.
        host: name, with a port where that is not the usual one.
        root_path: below which the proxy serves this server, "" or `/sheet`.
    """

    client: str | None = None
    scheme: str | None = None
    host: str | None = None
    root_path: str | None = None


def parsed_address(text: str) -> _Address | None:
    """Read an address of either kind, that of a mapped one (`::ffff:1.2.3.4`) as IPv4."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def hosts(headers: Headers) -> list[str]:
    """List every host that forwarded headers name.

    Raises: InvalidRequest: if they cannot be read.
    """
    named = [pairs["host"] for pairs in _elements(headers) if "host" in pairs]
    return [*_listed(headers, "host"), *named]


def told_by(headers: Headers, proxies: Proxies) -> Told:
    """Read the headers of a trusted proxy.

    `Forwarded` (RFC 7239) counts where no `X-Forwarded-` header is there: proxies that write
    those hand the other on, as clients sent it.
    Raises: InvalidRequest: if a header is none.
    """
    if any(name in headers for name in NAMES - {"forwarded"}):
        clients = _listed(headers, "for")
        hops = _hops(clients, proxies)
        scheme, host, port = (_at(_listed(headers, one), hops) for one in ("proto", "host", "port"))
        if host and port and ":" not in host.rpartition("]")[2] and port not in USUAL_PORTS:
            host = f"{host}:{port}"
        prefixes = _listed(headers, "prefix")
        prefix = "".join(read_root_path(one, "X-Forwarded-Prefix") for one in prefixes)
        root_path = prefix if prefixes else None
    else:
        elements = _elements(headers)
        clients = [pairs.get("for", "") for pairs in elements]
        hops = _hops(clients, proxies)
        last = elements[-hops] if elements else {}
        scheme, host, root_path = last.get("proto"), last.get("host"), None
    client = _without_port(clients[-hops]) if clients else None
    return Told(
        client=client if client and parsed_address(client) else None,
        scheme=_checked_scheme(scheme),
        host=host or None,
        root_path=root_path,
    )


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        reason = "; its last bits must be 0" if "host bits" in str(error) else ""
        raise InvalidRequest(
            f"--trusted-proxy is {quoted(text)}{reason}; give the proxy's address or network, "
            "such as 127.0.0.1, ::1 or 10.0.0.0/8"
        ) from None


def _hops(clients: Sequence[str], proxies: Proxies) -> int:
    """Count the entries that trusted proxies added: the last one, and those before trusted ones."""
    hops = 1
    while hops < len(clients) and proxies.include(_without_port(clients[-hops])):
        hops += 1
    return hops


def _at(values: Sequence[str], hops: int) -> str | None:
    return values[-min(hops, len(values))] if values else None


def _checked_scheme(scheme: str | None) -> str | None:
    if scheme is None or scheme.lower() in ("http", "https"):
        return scheme and scheme.lower()
    raise InvalidRequest(f"the proxy names the protocol {quoted(scheme)}; it must be http or https")


def _listed(headers: Headers, name: str) -> list[str]:
    """List the values of one X-Forwarded- header: it may come several times, and hold several."""
    text = ",".join(headers.getlist(f"x-forwarded-{name}"))
    return [one for one in (part.strip().strip('"') for part in text.split(",")) if one]


def _elements(headers: Headers) -> list[dict[str, str]]:
    """Read `Forwarded`: for each proxy its pairs, the nearest one last."""
    text = ",".join(headers.getlist("forwarded")).strip()
    elements: list[dict[str, str]] = [{}] if text else []
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise InvalidRequest(
                f"Forwarded is {quoted(text)}; it must be of pairs such as for=1.2.3.4"
            )
        value = pair["plain"] if pair["quoted"] is None else re.sub(r"\\(.)", r"\1", pair["quoted"])
        elements[-1][pair["name"].lower()] = value
        if pair["end"] == ",":
            elements.append({})
        at = pair.end()
    return elements


def _without_port(text: str) -> str:
    match = _WITH_PORT.fullmatch(text)
    return (match["six"] or match["four"] or text) if match else text
