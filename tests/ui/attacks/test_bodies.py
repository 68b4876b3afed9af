"""Bodies that are too large, too deep or none: one line, at once, and in little memory."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.ui.attacks.test_files import send
from tests.ui.page_server import Site
from ui.guard.bodies import FORM_BYTES_MAX, JSON_BYTES_MAX, UPLOAD_BYTES_MAX
from ui.guard.json_shape import DEPTH_MAX, PARTS_MAX, checked_json

JSON_ROUTES = ("run/predict", "queue/join", "call/generate", "call/v2/generate", "component_server",
               "cancel", "reset", "api/predict")  # fmt: skip
MB = 2**20


def post(site: Site, route: str, content: bytes | Iterator[bytes]) -> httpx.Response:
    return httpx.post(f"{site.url}{route}", content=content, timeout=60)


def pieces(size: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    yield b'{"data": ["'
    for _ in range(size // MB + 1):
        yield b"x" * MB
    yield b'"]}'


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_what_is_too_large_or_too_deep_is_refused_on_every_route(site: Site, route: str) -> None:
    large = b'{"data": ["' + b"x" * JSON_BYTES_MAX + b'"]}'
    deep = b'{"data": ' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}"
    many = b'{"data": [' + b"0," * PARTS_MAX + b"0]}"
    for content, status, why in (
        (large, 413, "larger than 32 MB"), (pieces(JSON_BYTES_MAX), 413, "larger than 32 MB"),
        (deep, 400, "nested deeper than 64"), (many, 400, "more than 400,000"),
        (b"[" * 10**6, 400, "nested"), (b'{"data": [' + b"9" * 5000 + b"]}", 400, "no JSON"),
        (b'{"data": ["\\', 400, "no JSON"), ('{"data": []}'.encode("utf-16"), 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"), (b'"' + b'\\"' * 10**6, 400, "no JSON"),
    ):  # fmt: skip
        answer = post(site, f"/gradio_api/{route}", content)
        assert (answer.status_code, why in answer.text) == (status, True), answer.text[:300]
        assert len(answer.text) < 300 and "\n" not in answer.text


@pytest.mark.parametrize(
    ("route", "limit"),
    [("/gradio_api/upload", UPLOAD_BYTES_MAX), ("/login", FORM_BYTES_MAX), ("/", JSON_BYTES_MAX)],
)
def test_other_routes_have_limits_too(site: Site, route: str, limit: int) -> None:
    for content in (b"x" * (limit + 1), pieces(limit)):
        assert post(site, route, content).status_code == 413


def test_a_file_that_is_too_large_is_refused_and_one_that_is_not_is_taken(site: Site) -> None:
    address = f"{site.url}/gradio_api/upload"
    for size, status in ((9 * MB, 200), (10 * MB + 1, 413), (12 * MB, 413)):
        answer = httpx.post(address, files={"files": ("x.png", b"x" * size)}, timeout=60)
        assert answer.status_code == status, size


def test_300_mb_cost_neither_time_nor_memory(site: Site) -> None:
    before = psutil.Process().memory_info().rss
    start = time.monotonic()
    part = b"[" * MB
    answer = post(site, "/gradio_api/run/predict", (part for _ in range(300)))
    assert answer.status_code == 413
    assert time.monotonic() - start < 30
    assert psutil.Process().memory_info().rss - before < 300 * MB
    assert httpx.get(site.url, timeout=10).status_code == 200


def test_a_false_length_is_no_way_in(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    for length in ("-1", "1" * 400, "0x10", "5, 6"):
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(
                f"POST /gradio_api/run/predict HTTP/1.1\r\nhost: {host}:{port}\r\n"
                f"content-length: {length}\r\nconnection: close\r\n\r\n".encode()
            )
            connection.settimeout(15)
            told = connection.recv(200)
            assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")) or not told, (length, told)


def test_what_a_large_map_needs_is_taken(site: Site) -> None:
    handler = {"id": 0, "inputs": [0], "queue": False, "targets": []}
    value = {"map": "data:image/png;base64," + "A" * (10 * MB), "text": '[{,"' * 10**6}
    assert "larger" not in send(site, handler, value)
    body = json.dumps(value).encode()
    assert checked_json(body, lambda path: False) is body
