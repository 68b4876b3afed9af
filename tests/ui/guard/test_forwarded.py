"""Forwarded headers: read of trusted proxies alone, and of a chain only what they added."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from pipelines import InvalidRequest
from ui.guard.forwarded import Proxies, Told, hosts, told_by
from ui.guard.root_path import address_below, read_root_path

PROXIES = Proxies.of(["10.0.0.0/8", "::1,192.0.2.7"])


def told(**headers: str) -> Told:
    return told_by(
        Headers({name.replace("_", "-"): text for name, text in headers.items()}), PROXIES
    )


def test_addresses_and_networks_are_read() -> None:
    for inside in ("10.1.2.3", "::1", "192.0.2.7", "::ffff:10.9.9.9"):
        assert PROXIES.include(inside), inside
    for outside in ("11.0.0.1", "192.0.2.8", "::2", "", "testclient", "10.0.0"):
        assert not PROXIES.include(outside), outside
    assert not Proxies().include("127.0.0.1")


@pytest.mark.parametrize("wrong", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/40", "", "1.2.3.4:80"])
def test_what_is_no_address_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=r"--trusted-proxy is .*such as 127\.0\.0\.1"):
        Proxies.of([wrong])


def test_one_proxy_tells_everything() -> None:
    assert told(
        x_forwarded_for="203.0.113.5", x_forwarded_proto="HTTPS", x_forwarded_host="example.org",
        x_forwarded_port="8443", x_forwarded_prefix="/sheet/",
    ) == Told("203.0.113.5", "https", "example.org:8443", "/sheet")  # fmt: skip
    assert told(x_forwarded_host="[::1]", x_forwarded_port="81").host == "[::1]:81"
    assert told(x_forwarded_host="a.b:7", x_forwarded_port="81").host == "a.b:7"
    assert told(x_forwarded_host="a.b", x_forwarded_port="443").host == "a.b"
    assert told(x_forwarded_prefix="/").root_path == ""


def test_of_a_chain_only_what_trusted_ones_added_counts() -> None:
    chain = told(
        x_forwarded_for="6.6.6.6, 203.0.113.5, 10.0.0.1", x_forwarded_proto="http, https, http"
    )
    assert (chain.client, chain.scheme) == ("203.0.113.5", "https")
    forged = told(x_forwarded_for="10.0.0.9, 203.0.113.5", x_forwarded_proto="https, http")
    assert (forged.client, forged.scheme) == ("203.0.113.5", "http")
    assert told(x_forwarded_for="[2001:db8::1]:4711").client == "2001:db8::1"
    assert told(x_forwarded_for="203.0.113.5:80").client == "203.0.113.5"
    assert told(x_forwarded_for="unknown").client is None


def test_the_standard_header_is_read_where_it_stands_alone() -> None:
    told_once = told(
        forwarded='For="[2001:db8::1]:9";proto=https; host="example.org:81", for=10.0.0.1'
    )
    assert told_once == Told("2001:db8::1", "https", "example.org:81", None)
    assert told(forwarded="for=1.1.1.1;host=evil.example", x_forwarded_proto="https") == Told(
        None, "https", None, None
    )
    assert hosts(Headers({"forwarded": "host=a.b, host=c.d", "x-forwarded-host": "e.f"})) == [
        "e.f", "a.b", "c.d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "header",
    [{"forwarded": "for"}, {"forwarded": 'host="open'}, {"forwarded": "a=b c=d"},
     {"x_forwarded_proto": "ftp"}, {"x_forwarded_prefix": "//evil.example"},
     {"x_forwarded_prefix": "/a/../b"}, {"x_forwarded_prefix": "/a b"}],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error(header: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        told(**header)


def test_root_paths() -> None:
    for text in ("/sheet", "sheet", "/sheet/", "sheet/"):
        assert read_root_path(text) == "/sheet"
    assert read_root_path("/a.b/c-d_e~1") == "/a.b/c-d_e~1"
    assert read_root_path("") == read_root_path("/") == ""
    for wrong in (
        "https://example.org/x",
        "//x",
        "/a//b",
        "/..",
        "/a/./b",
        "/a b",
        "/a?b",
        "/ä",
        "/a\n",
    ):
        with pytest.raises(InvalidRequest, match=r"--root-path is .* such as /sheet"):
            read_root_path(wrong)


def test_an_address_is_found_whether_the_root_path_was_taken_off_or_not() -> None:
    def is_route(path: str) -> bool:
        return path.split("/")[1] in ("config", "sheets")

    for path, below in {
        "/": "/", "/sheet/": "/", "/sheet": "", "/sheet/config": "/config", "/config": "/config",
        "/sheet/other": "/sheet/other", "/sheets/x.png": "/sheets/x.png", "/sheetx": "/sheetx",
        "/sheet//config": "/config",
    }.items():  # fmt: skip
        assert address_below("/sheet", path, is_route) == below, path
    for path in ("/sheets/x.png", "/sheets/sheets/x.png"):
        assert address_below("/sheets", path, is_route) == "/sheets/x.png"
    assert address_below("", "/sheet/", is_route) == "/sheet/"
