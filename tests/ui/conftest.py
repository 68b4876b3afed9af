"""A site of tiny models for every test, and a real Chromium that looks at it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from pipelines import Studio
from tests.helpers.tiny import controlnet, save_sd
from tests.ui.control_pages import open_controls, save_square
from tests.ui.page_server import FLAGS, PATIENCE_MS, READY, Site, chromium, served

# Five seconds, as it has, are too few for a busy machine.
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with two tiny random models, of which only `emoji` has a preset, and two
    ControlNets that fit both."""
    folder = tmp_path_factory.mktemp("models")
    save_sd(folder / "basic")
    save_sd(folder / "emoji", seed=1)
    for seed, name in ((2, "net-canny"), (3, "net-pose")):
        net = controlnet(seed)
        # So that a stroke on a map shows in the picture.
        for weights in net.controlnet_cond_embedding.parameters():
            weights.data *= 5
        net.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def site(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(models, tmp_path_factory.mktemp("outputs"), warm="basic") as site:
        yield site


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A fresh browser profile on the page; fails the test if anything else was asked for."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    hosts: set[str | None] = set()
    broken: list[str] = []
    context.on("request", lambda request: hosts.add(urlparse(request.url).hostname))
    page = context.new_page()
    page.on("pageerror", lambda error: broken.append(f"{error}\n{error.stack}"))
    page.goto(site.url)
    page.get_by_label("Prompt", exact=True).wait_for()
    page.wait_for_selector(READY, state="attached")
    yield page
    context.close()
    assert hosts <= {"127.0.0.1", "", None}, f"the page asked other hosts: {hosts}"
    assert not broken, broken


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test begins with an idle worker."""
    yield
    if "site" not in request.fixturenames:
        return
    studio: Studio = request.getfixturevalue("site").studio
    for summary in studio.recent(20):
        run = studio.find(summary.id)
        if run is None:
            continue
        run.stop()
        until = time.monotonic() + 20
        while not run.snapshot().finished and time.monotonic() < until:
            time.sleep(0.02)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture to steer by."""
    return save_square(tmp_path)


@pytest.fixture
def tab(page: Page) -> Locator:
    """The ControlNet tab, ready to generate."""
    return open_controls(page)
