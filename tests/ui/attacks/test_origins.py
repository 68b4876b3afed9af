"""Pages of other sites, open in the same browser: they read nothing and start nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import Browser

from tests.ui.attacks.test_files import handlers
from tests.ui.page_server import Site

OTHERS = (
    "http://127.0.0.1:1", "http://localhost", "https://127.0.0.1", "https://example.org", "null",
    "file://", "http://127.0.0.1.example.org", "chrome-extension://abc", "http://[::1]", "",
)  # fmt: skip
ROUTES = (
    "/gradio_api/run/predict", "/gradio_api/queue/join", "/gradio_api/upload",
    "/gradio_api/component_server", "/gradio_api/cancel", "/gradio_api/reset", "/login",
    "/gradio_api/call/generate", "/gradio_api/call/v2/generate", "/gradio_api/api/predict",
)  # fmt: skip
READ = ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data", "/sources/x.png")


@pytest.mark.parametrize("origin", OTHERS)
def test_another_origin_is_refused_everywhere(site: Site, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    for route in (*ROUTES, *READ):
        for method in ("OPTIONS", "POST", "GET", "PUT", "DELETE"):
            answer = httpx.request(method, site.url + route, headers=asked)
            assert answer.status_code == 403, (method, route)
            assert not any(name.startswith("access-control-") for name in answer.headers)


def test_a_browser_that_names_no_origin_still_says_that_it_is_elsewhere(site: Site) -> None:
    for where in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": where, "sec-fetch-mode": "no-cors"}
        for route in (*ROUTES, *READ):
            assert httpx.post(site.url + route, headers=headers).status_code == 403
            assert httpx.get(site.url + route, headers=headers).status_code == 403
        headers = {"sec-fetch-site": where, "sec-fetch-mode": "navigate"}
        framed = headers | {"sec-fetch-dest": "iframe"}
        assert httpx.get(site.url, headers=framed).status_code == 403
        followed = headers | {"sec-fetch-dest": "document"}
        assert httpx.get(site.url, headers=followed).status_code == 200
        assert httpx.get(f"{site.url}/config", headers=followed).status_code == 403


def test_the_page_itself_and_programs_are_served(site: Site) -> None:
    handler = next(one for one in handlers(site) if not one["queue"])
    body = {"fn_index": handler["id"], "data": [None] * len(handler["inputs"])}
    own = {"origin": site.url, "sec-fetch-site": "same-origin"}
    for headers in (own, {}):
        answer = httpx.post(f"{site.url}/gradio_api/run/predict", json=body, headers=headers)
        assert answer.status_code != 403
        assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
def stranger() -> Iterator[str]:
    """An empty page at another port of this machine."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


TRY = """async ([address, method, mode, type]) => {
  const options = { method, mode, credentials: "include" };
  if (method === "POST") options.body = JSON.stringify({ data: ["a stranger's"] });
  if (type) options.headers = { "content-type": type };
  try {
    const answer = await fetch(address, options);
    return [answer.type, answer.status, (await answer.text()).length];
  } catch (error) { return ["refused", 0, 0]; }
}"""


def test_a_page_at_another_port_reads_and_starts_nothing(
    site: Site, browser: Browser, stranger: str
) -> None:
    before = len(site.studio.recent(1000))
    page = browser.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    try:
        page.goto(stranger)
        for host in (site.url, site.url.replace("127.0.0.1", "localhost")):
            for route in (*ROUTES, *READ):
                for mode in ("cors", "no-cors"):
                    for method, kind in (("GET", ""), ("POST", ""), ("POST", "application/json")):
                        told = page.evaluate(TRY, [host + route, method, mode, kind])
                        # Opaque: the page sees neither status nor text.
                        assert told[2] == 0 and told[0] in ("refused", "opaque"), (told, route)
        page.set_content(
            f'<img src="{site.url}/theme.css"><iframe src="{site.url}/"></iframe>'
            f'<script src="{site.url}/config"></script>'
            f'<form method=post action="{site.url}/gradio_api/call/generate"></form>'
        )
        page.wait_for_timeout(500)
        page.evaluate("document.querySelector('form').submit()")
        page.wait_for_timeout(500)
    finally:
        page.close()
    # Of what it blocks for the other page, Chromium does not report the answer.
    ours = [answer for answer in answers if not answer[0].startswith(stranger)]
    assert (f"{site.url}/gradio_api/call/generate", 403) in ours, "the form arrived"
    assert {status for _, status in ours} == {403}, ours
    assert len(site.studio.recent(1000)) == before
