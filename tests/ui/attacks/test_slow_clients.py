"""Clients that take their time, send for ever or guess passwords: nobody else is kept waiting."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipelines import Studio
from tests.ui.page_server import Site, start
from ui.guard import bodies, connections, login_pace
from ui.uploads import keep_what_is_here, sweep_uploads, upload_folder

HEAD = b"POST /gradio_api/run/predict HTTP/1.1\r\nhost: 127.0.0.1\r\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, in less time than a test may take."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 1.0)
    monkeypatch.setattr(bodies, "PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(bodies, "PATIENCE_SECONDS", 2.0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    """A site without models, behind a login."""
    studio = Studio(tmp_path / "models", tmp_path / "outputs", device="cpu")
    site, stop = start(studio, auth="user:right")
    yield site
    stop()
    studio.close()


def connect(site: Site) -> socket.socket:
    host, port = site.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 10)


def closed_within(connection: socket.socket, seconds: float, drip: bytes = b"") -> bytes:
    """What came back until the server closed, while a byte was sent at a time."""
    told, begun = b"", time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - begun < seconds:
        try:
            connection.sendall(drip)
            piece = connection.recv(1000)
        except TimeoutError:
            continue
        except OSError:
            return told
        if not piece:
            return told
        told += piece
    raise AssertionError(f"still open after {seconds} s: {told!r}")


@pytest.mark.usefixtures("quick")
def test_headers_that_never_end_are_given_up(small: Site) -> None:
    for begun, drip in ((b"", b""), (b"GET / HT", b""), (HEAD, b"x"), (b"", b"x")):
        with connect(small) as connection:
            connection.sendall(begun)
            closed_within(connection, 10, drip)
    assert httpx.get(small.url, timeout=10).status_code == 200


@pytest.mark.usefixtures("quick")
def test_a_connection_that_is_kept_serves_on(small: Site) -> None:
    with httpx.Client() as client:
        for _ in range(4):
            assert client.get(small.url, timeout=10).status_code == 200
            time.sleep(0.5)


@pytest.mark.usefixtures("quick")
def test_bodies_that_never_end_are_given_up(small: Site) -> None:
    cookies = httpx.post(
        f"{small.url}/login", data={"username": "user", "password": "right"}
    ).cookies
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    for drip in (b"", b"x"):
        with connect(small) as connection:
            connection.sendall(
                HEAD.replace(b"127.0.0.1", small.url.removeprefix("http://").encode())
                + f"cookie: {cookie}\r\ncontent-length: 100000\r\n\r\n".encode()
            )
            assert closed_within(connection, 10, drip).startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("quick")
def test_a_body_on_a_slow_line_is_taken(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SLOWEST", 1000)

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            time.sleep(0.4)
            yield b"x" * 1000

    answer = httpx.post(f"{small.url}/login", content=pieces(), timeout=30)
    assert answer.status_code != 408  # in four seconds, where a short one has two


def test_idle_connections_leave_room_for_others(
    small: Site, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    idle = [connect(small) for _ in range(100)]
    assert httpx.get(small.url, timeout=10).status_code == 200
    begun = time.monotonic()
    for one in idle:
        closed_within(one, 10)
        one.close()
    assert time.monotonic() - begun < 20
    assert small.server.config.limit_concurrency == connections.CONNECTIONS_MAX


def test_guessing_a_password_is_slowed(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def log_in(password: str) -> int:
        data = {"username": "user", "password": password}
        return httpx.post(f"{small.url}/login", data=data, timeout=20).status_code

    assert [log_in(f"wrong{i}") for i in range(login_pace.PER_CLIENT)] == [400] * 10
    assert [log_in("wrong"), log_in("right")] == [429, 429]
    monkeypatch.setattr(login_pace, "SECONDS", 0.0)
    assert log_in("right") == 200


def test_the_oldest_uploads_give_way(small: Site) -> None:
    folder = upload_folder()
    own = folder / "own.png"
    own.write_bytes(b"x" * 5000)
    os.utime(own, (1, 1))
    keep_what_is_here()
    files = [folder / f"sent{i}.png" for i in range(5)]
    for i, file in enumerate(files):
        file.write_bytes(b"x" * 1000)
        os.utime(file, (time.time() + 10 + i, time.time() + 10 + i))
    sweep_uploads(2500)
    assert own.exists() and [file.exists() for file in files] == [False] * 3 + [True] * 2
    for file in (own, *files):
        file.unlink(missing_ok=True)


def test_an_upload_sweeps(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"username": "user", "password": "right"}
    with httpx.Client(timeout=20) as client:
        client.post(f"{small.url}/login", data=data)
        monkeypatch.setattr(bodies, "UPLOADS_BYTES_MAX", 3000)
        sent = []
        for i in range(5):
            files = {"files": (f"{i}.png", bytes([i]) * 1000)}
            sent += client.post(f"{small.url}/gradio_api/upload", files=files).json()
            time.sleep(0.02)
    left = [Path(path).exists() for path in sent]
    assert left[0] is False and left[-1] is True and sum(left) <= 4


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_uploads_are_gone_with_their_process(end: signal.Signals, tmp_path: Path) -> None:
    for kind in (end, signal.SIGTERM):  # whoever comes after a SIGKILL cleans up
        environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "uploads")}
        process = subprocess.Popen(
            [sys.executable, "app.py", "serve", "--port", "0", "--models", str(tmp_path),
             "--outputs", str(tmp_path / "outputs")],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert "Contact Sheet is at" in process.stdout.readline()
        assert len(list((tmp_path / "uploads").glob("contact-sheet-*"))) == 1
        process.send_signal(kind)
        process.wait(30)
    assert list((tmp_path / "uploads").glob("contact-sheet-*")) == []
