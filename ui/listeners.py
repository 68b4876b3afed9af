"""Listeners: sockets at the addresses of a host, all at one port."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

from pipelines import InvalidRequest
from ui.guard.forwarded import parsed_address
from ui.guard.refusal import quoted

PORT = 7860
_PORTS_TRIED = 100
_BACKLOG = 2048
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def listen(host: str, port: int | None) -> list[socket.socket]:
    """Listen at all addresses of a host.

    A name (`localhost`) may have an address of either kind; `::` is every address of both kinds
    where the machine can.
    Args:
        port: None takes 7860 or the next that is free at all of them; 0 any.
    Raises: InvalidRequest: if the host is not of this machine, or the port is taken.
    """
    reason: OSError | None = None
    tries = range(PORT, PORT + _PORTS_TRIED) if port is None else [port] * (20 if port == 0 else 1)
    for candidate in tries:
        try:
            return _listen_at(_addresses(host, candidate), candidate)
        except UnicodeError:
            raise InvalidRequest(
                f"--host is {quoted(host)}; that is no name of a machine"
            ) from None
        except OverflowError:
            raise InvalidRequest(f"port is {port}; it must be from 0 to 65535") from None
        except OSError as error:
            reason = error
    assert reason is not None
    raise InvalidRequest(
        f"cannot serve at {host}, port {port or PORT}: {reason.strerror}; "
        "choose another with --port, or leave it out to take a free one"
    )


def is_loopback(bound: list[socket.socket]) -> bool:
    """Tell whether only this machine reaches them."""
    found = [parsed_address(one.getsockname()[0]) for one in bound]
    return all(one is not None and one.is_loopback for one in found)


def address_of(bound: socket.socket) -> str:
    """Return host and port at which a listener is reached from this machine, as in a URL."""
    host, port = bound.getsockname()[:2]
    if host == "0.0.0.0":
        host = "127.0.0.1"
    elif host == "::":
        host = "::1" if bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) else "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_brackets(host: str) -> str:
    """Return a host as sockets take it: `[::1]` is how it stands in an address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _addresses(host: str, port: int) -> list[_Address]:
    """Find the addresses of a host, those of IPv4 first. Raises: OSError: if there is none."""
    if not 0 <= port <= 65535:
        raise OverflowError
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = {(family, address): None for family, _, _, _, address in found}
    return sorted(addresses, key=lambda one: one[0] != socket.AF_INET)


def _listen_at(addresses: list[_Address], port: int) -> list[socket.socket]:
    """Listen at those addresses that the machine has; at the same port.

    Raises: OSError: if it has none, or the port is taken at one.
    """
    listeners: list[socket.socket] = []
    with contextlib.ExitStack() as closed:
        reason = OSError(0, "it has no address")
        for family, address in addresses:
            at = (address[0], port or (listeners[0].getsockname()[1] if listeners else 0))
            both = address[0] == "::" and socket.has_dualstack_ipv6()
            try:
                one = socket.create_server(
                    (*at, *address[2:]), family=family, backlog=_BACKLOG, dualstack_ipv6=both
                )
            except OSError as error:
                # A name may be listed with an address of a kind that is switched off.
                if error.errno not in _NOT_HERE or len(addresses) == 1:
                    raise
                reason = error
                continue
            closed.callback(one.close)
            listeners.append(one)
        if not listeners:
            raise reason
        closed.pop_all()
    return listeners
