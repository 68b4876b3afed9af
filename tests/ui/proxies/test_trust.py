"""What a proxy says is believed of the named one alone, whatever else is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest

from pipelines import Studio
from tests.ui.page_server import Site, start
from tests.ui.proxies.servers import NAME

FORWARDED = {
    "x-forwarded-proto": "https", "x-forwarded-host": NAME, "x-forwarded-prefix": "/elsewhere",
    "x-forwarded-for": "203.0.113.5",
}  # fmt: skip


@pytest.fixture(scope="module")
def trusting(studio: Studio) -> Iterator[Site]:
    site, stop = start(studio, allow_hosts=[NAME], trusted_proxies=["127.0.0.1"])
    yield site
    stop()


@pytest.fixture(scope="module")
def wary(studio: Studio) -> Iterator[Site]:
    """A site that trusts another proxy than the one that asks."""
    site, stop = start(studio, allow_hosts=[NAME], trusted_proxies=["10.0.0.0/8"])
    yield site
    stop()


def root(site: Site, **headers: str) -> str:
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    answer = httpx.get(f"{site.url}/config", headers=sent)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["root"])


def test_a_named_proxy_is_believed(trusting: Site) -> None:
    assert root(trusting, **FORWARDED) == f"https://{NAME}/elsewhere"
    assert root(trusting, forwarded=f"proto=https;host={NAME}") == f"https://{NAME}"
    assert root(trusting) == trusting.url


def test_anyone_else_is_not_and_the_log_says_so(
    wary: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert root(wary, **FORWARDED) == wary.url
        assert root(wary, forwarded=f"proto=https;host={NAME}") == wary.url
    said = [
        one.getMessage()
        for one in caplog.records
        if "--trusted-proxy 127.0.0.1" in one.msg % one.args
    ]
    assert len(said) == 1, "once is enough"


def test_a_trusted_proxy_names_no_host_that_is_not_the_servers(trusting: Site) -> None:
    for sent in (
        {"x-forwarded-host": "evil.example"}, {"forwarded": "host=evil.example"},
        {"host": "evil.example", "x-forwarded-host": NAME},
        {"x-forwarded-host": NAME, "forwarded": "host=evil.example"},
        {"forwarded": "host"}, {"x-forwarded-proto": "gopher"}, {"x-forwarded-prefix": "//evil"},
    ):  # fmt: skip
        answer = httpx.get(trusting.url, headers=sent)
        assert answer.status_code == 400, sent
        assert len(answer.text.splitlines()) == 1


def test_the_origin_is_checked_behind_tls_of_a_proxy(trusting: Site) -> None:
    told = {"host": NAME, "x-forwarded-proto": "https"}
    route = f"{trusting.url}/gradio_api/queue/join"
    for origin, allowed in {
        f"https://{NAME}": True, "https://evil.example": False, f"https://{NAME}:444": False,
        "null": False, f"https://sub.{NAME}": False,
    }.items():  # fmt: skip
        answer = httpx.post(route, json={}, headers={**told, "origin": origin})
        assert (answer.status_code != 403) == allowed, origin


def test_an_unencrypted_page_is_another_origin_than_an_encrypted_one(trusting: Site) -> None:
    told = {"host": "localhost", "x-forwarded-proto": "https"}
    route = f"{trusting.url}/gradio_api/queue/join"
    plain = httpx.post(route, json={}, headers={**told, "origin": "http://localhost"})
    assert plain.status_code == 403
    encrypted = httpx.post(route, json={}, headers={**told, "origin": "https://localhost"})
    assert encrypted.status_code != 403


def test_streams_are_not_held_back_by_a_proxy(trusting: Site) -> None:
    address = f"{trusting.url}/gradio_api/heartbeat/x"
    with httpx.stream("GET", address) as beating:
        assert beating.headers["content-type"].startswith("text/event-stream")
        assert beating.headers["x-accel-buffering"] == "no"
    assert "x-accel-buffering" not in httpx.get(trusting.url).headers


def test_the_root_path_without_its_slash_leads_to_the_page(studio: Studio) -> None:
    site, stop = start(studio, root_path="/sheet")
    try:
        for path in ("/sheet", "/sheet?__theme=dark"):
            answer = httpx.get(site.url + path)
            assert (answer.status_code, answer.headers["location"]) == (
                307, path.replace("/sheet", "/sheet/"),
            )  # fmt: skip
        for path in ("/", "/sheet/", "/sheet//", "//"):
            assert b'<base href="/sheet/"' in httpx.get(site.url + path).content, path
        assert root(site) == f"{site.url}/sheet"
    finally:
        stop()


def test_gradios_variable_is_no_way_round(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ROOT_PATH", "https://evil.example")
    site, stop = start(studio)
    try:
        assert root(site) == site.url
        assert b"evil" not in httpx.get(site.url).content
    finally:
        stop()
