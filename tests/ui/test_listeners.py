"""Addresses at which the page listens: both kinds, names, and what is printed."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from pipelines import InvalidRequest, Studio
from tests.ui.page_server import start
from ui.listeners import address_of, listen


@pytest.mark.parametrize("host", ["::1", "[::1]", "0:0:0:0:0:0:0:1", "127.0.0.1", "localhost"])
def test_the_page_answers_at_the_address_that_is_printed(models: Path, host: str) -> None:
    site, stop = start(Studio(models), host=host)
    try:
        assert httpx.get(site.url).status_code == 200
        own = {"origin": site.url}
        assert httpx.post(f"{site.url}/login", headers=own).status_code != 403
    finally:
        stop()


def test_all_addresses_are_those_of_both_kinds(models: Path) -> None:
    site, stop = start(Studio(models), host="::", auth="ada:horse")
    port = site.server.bound.getsockname()[1]
    try:
        assert site.url == f"http://127.0.0.1:{port}"
        for host in ("127.0.0.1", "[::1]", "localhost"):
            assert httpx.get(f"http://{host}:{port}").status_code == 200, host
        number = _own_number()
        if number is not None:
            assert httpx.get(f"http://{number}:{port}").status_code == 200
        wrong = httpx.get(site.url, headers={"host": "10.255.0.1"})
        assert wrong.status_code == 400
    finally:
        stop()


def test_a_name_with_addresses_of_both_kinds_is_served_at_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `localhost` is on most machines; here it may have one of them only."""
    look_up = socket.getaddrinfo

    def both(host: str, *args: object, **options: object) -> list[object]:
        numbers = ("::1", "127.0.0.1") if host == "twofold" else (host,)
        return [one for number in numbers for one in look_up(number, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    listeners = listen("twofold", 0)
    try:
        names = [one.getsockname()[0] for one in listeners]
        assert names == ["127.0.0.1", "::1"]
        assert len({one.getsockname()[1] for one in listeners}) == 1
        assert address_of(listeners[0]).startswith("127.0.0.1:")
        with pytest.raises(InvalidRequest, match=r"in use.*--port"):
            listen("::1", listeners[0].getsockname()[1])
    finally:
        for one in listeners:
            one.close()


@pytest.mark.parametrize("host", ["203.0.113.9", "no-such-host.invalid", "2001:db8::1", "a" * 300])
def test_a_host_of_another_machine_is_an_error(host: str) -> None:
    with pytest.raises(InvalidRequest, match=host[:20]):
        listen(host, 0)


def _own_number() -> str | None:
    """This machine's own number, where it has one that is not only its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
