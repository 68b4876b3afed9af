"""What a person does on a page behind a proxy, all of which must go through it."""

from __future__ import annotations

import io
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.ui import control_pages, pages
from tests.ui.page_server import PATIENCE_MS, READY


def visit(browser: Browser, address: str, source: Path) -> None:
    """Make, download, upload and come back at an address; nothing may be missing or elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    asked: set[str] = set()
    page.on("console", lambda one: wrong.append(_said(one)) if one.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))
    page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    try:
        opened = page.goto(address)
        assert opened is not None and opened.ok, opened and opened.text()
        page.wait_for_selector(READY, state="attached")
        _make_and_download(page)
        _come_back(page)
        _steer(page, source)
    finally:
        context.close()
    assert not wrong, wrong
    place = urlsplit(address)
    strange = {
        url for url in asked
        if urlsplit(url)[:2] != place[:2] or not urlsplit(url).path.startswith(place.path)
    }  # fmt: skip
    assert not {url for url in strange if not url.startswith(("data:", "blob:"))}


def _said(message: ConsoleMessage) -> str:
    return f"{message.text} ({message.location['url']})"


def _shown(page: Page) -> Image.Image:
    """The picture that the page shows, asked for by the page itself."""
    data = page.locator(".cs-cell img").first.evaluate(
        """async (image) => {
          const blob = await (await fetch(image.src)).blob();
          return [...new Uint8Array(await blob.arrayBuffer())];
        }"""
    )
    return Image.open(io.BytesIO(bytes(data))).convert("RGB")


def _make_and_download(page: Page) -> None:
    pages.fill(page, Prompt="a boat", Steps=2)
    pages.fix_seed(page, 5)
    pages.generate(page)
    pages.wait_status(page, "done")
    shown = _shown(page)
    page.locator(".cs-cell").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    with Image.open(download.value.path()) as saved:
        assert saved.convert("RGB").tobytes() == shown.tobytes()
        assert "Seed: 5" in str(saved.info["parameters"])


def _come_back(page: Page) -> None:
    """A page that is loaded again shows the run that is kept."""
    before = _shown(page)
    page.reload()
    page.wait_for_selector(READY, state="attached")
    pages.wait_status(page, "done")
    assert _shown(page).tobytes() == before.tobytes()
    # The strip of older runs shows their pictures.
    page.wait_for_function(
        "[...document.querySelectorAll('.cs-runs img, .cs-strip img')]"
        ".every((image) => image.complete && image.naturalWidth)"
    )


def _steer(page: Page, source: Path) -> None:
    tab = control_pages.open_controls(page)
    control_pages.upload(tab, source)
    control_pages.ready(tab, "edge")
    control_pages.generate(tab)
    expect(tab.locator(".cs-cell img").first).to_be_visible()


def ask(address: str, source: Path, verify: ssl.SSLContext | bool = True) -> None:
    """What a program does at the same address."""
    client = Client(address, verbose=False, ssl_verify=verify)  # type: ignore[arg-type]
    files, _ = client.predict(model="basic", steps=1, api_name="/generate")
    with Image.open(files[0]) as made:
        assert made.width > 0
    kept, _ = client.predict(
        image=handle_file(source), preprocessor="canny", api_name="/preprocess"
    )
    with Image.open(kept if isinstance(kept, str) else kept["path"]) as drawn:
        assert drawn.width > 0
    info = httpx.get(f"{address}/gradio_api/info", verify=verify)  # type: ignore[arg-type]
    assert "/generate" in info.json()["named_endpoints"]


def picture_at(address: str, verify: ssl.SSLContext | bool = True) -> Image.Image:
    """A picture as a link to it shows it."""
    answer = httpx.get(address, verify=verify)  # type: ignore[arg-type]
    assert answer.headers["content-type"] == "image/png", answer.text[:200]
    return Image.open(io.BytesIO(answer.content))
