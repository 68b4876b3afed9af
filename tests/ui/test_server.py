"""How the page is served: its address, its limits, and what it never does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from pipelines import InvalidRequest, Request, Sheet, Studio
from tests.ui import pages
from tests.ui.page_server import Site
from ui.server import PORT, make_server


@pytest.fixture
def taken() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_an_asked_port_that_is_taken_is_an_error(taken: socket.socket, models: Path) -> None:
    port = taken.getsockname()[1]
    with taken, pytest.raises(InvalidRequest, match=rf"port {port}.*in use.*--port"):
        make_server(Studio(models), port=port)
    with pytest.raises(InvalidRequest, match="0 to 65535"):
        make_server(Studio(models), port=70000)


def test_without_a_port_the_next_free_one_is_taken(models: Path) -> None:
    first = make_server(Studio(models))
    second = make_server(Studio(models))
    with first.bound, second.bound:
        ports = [server.bound.getsockname()[1] for server in (first, second)]
        assert PORT <= ports[0] < ports[1] <= PORT + 99


def test_only_its_own_host_names_are_answered(site: Site) -> None:
    assert httpx.get(site.url).status_code == 200
    answer = httpx.get(site.url, headers={"host": "rebound.example"})
    assert answer.status_code == 400


def test_headers_forbid_other_hosts(site: Site) -> None:
    headers = httpx.get(site.url).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_it_fetches_nothing_for_others(site: Site) -> None:
    for path in ("file=https://example.org/x.png", "file=http://127.0.0.1:1/x", "proxy=https://x"):
        answer = httpx.get(f"{site.url}/gradio_api/{path}")
        assert (answer.status_code, answer.text) == (403, "not served here")


def test_only_pictures_are_handed_out(site: Site) -> None:
    run = site.studio.submit(Sheet(base=Request(model="basic", steps=2)))
    pages.until(lambda: run.snapshot().finished, "a picture")
    file = run.snapshot().cells[0].file
    answer = httpx.get(f"{site.url}/pictures/{run.id}/0.png")
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == "image/png"
    for wrong in (f"pictures/{run.id}/1.png", f"pictures/{run.id}/-1.png", "pictures/none/0.png"):
        assert httpx.get(f"{site.url}/{wrong}").status_code == 404
    assert site.studio.store is not None
    database = next(site.studio.store.folder.glob("*.sqlite"))
    assert httpx.get(f"{site.url}/gradio_api/file={file}").status_code == 200
    assert httpx.get(f"{site.url}/gradio_api/file={database}").status_code == 403
    assert httpx.get(f"{site.url}/gradio_api/file={Path(__file__)}").status_code == 403


def test_the_page_is_up_before_torch_is_imported(models: Path) -> None:
    script = (
        "import sys\n"
        "from pipelines import Studio\n"
        "from ui.server import make_server\n"
        "def ready(url):\n"
        "    print(url, 'torch' in sys.modules, 'diffusers' in sys.modules)\n"
        "    server.should_exit = True\n"
        f"server = make_server(Studio({str(models)!r}), port=0, ready=ready)\n"
        "server.serve_forever()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    url, *imported = done.stdout.split()
    assert url.startswith("http://127.0.0.1:")
    assert imported == ["False", "False"]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes a test starts; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()


def test_ctrl_c_ends_it_quietly_and_an_open_page_survives_the_restart(
    page: Page, models: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    server, url = serve_in_a_process(models, tmp_path, 0, processes)
    page.goto(url)
    pages.fill(page, Prompt="a boat", Steps=800)
    pages.generate(page)
    pages.wait_status(page, "running")
    # Before the first step the run still imports torch, which no signal can hurry.
    page.locator(".cs-cell img").first.wait_for(timeout=60_000)
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=15)
    assert server.returncode == 0
    assert "Traceback" not in errors, errors
    expect(page.locator(".cs-line")).to_contain_text("No connection to the server")

    server, again = serve_in_a_process(models, tmp_path, int(url.rpartition(":")[2]), processes)
    assert again == url
    pages.wait_status(page, "stopped")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat")
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=15)


def serve_in_a_process(
    models: Path, outputs: Path, port: int, processes: list[subprocess.Popen[str]]
) -> tuple[subprocess.Popen[str], str]:
    """A server of its own, and its address as it printed it."""
    script = (
        "from pipelines import Studio\n"
        "from ui.server import serve\n"
        f"serve(Studio({str(models)!r}, {str(outputs)!r}, device='cpu'), port={port})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    processes.append(process)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line.startswith("Contact Sheet is at http://127.0.0.1:"), process.communicate()[1]
    return process, line.split()[-1]
