"""A real server on a real socket, and a real Chromium that looks at it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import torch
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines import Studio
from tests.tiny import controlnet, save_sd
from ui.server import PageServer, make_server

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = 30_000
READY = "html[data-ready]"
"""What a page is once it hears keys and clicks."""


class Site:
    """The page being served, and the studio behind it."""

    def __init__(self, studio: Studio, server: PageServer) -> None:
        self.studio = studio
        self.server = server
        self.url = server.url

    def newest_run(self) -> Any:
        """The run that was asked for last."""
        return self.studio.find(self.studio.recent(1)[0].id)


def start(studio: Studio, port: int | None = 0) -> tuple[Site, Callable[[], None]]:
    """Serve a studio's page in a thread; what stops it comes along."""
    ready = threading.Event()
    server = make_server(studio, port=port, ready=lambda url: ready.set())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    assert ready.wait(30), "the page did not come up"

    def stop() -> None:
        server.should_exit = True
        thread.join(10)

    return Site(studio, server), stop


@contextmanager
def served(models: Path, outputs: Path, warm: str | None = None) -> Iterator[Site]:
    """A site of tiny models while the block runs, `warm` of them loaded beforehand.

    So small a model runs fastest on one thread, by far so when the machine is busy.
    """
    studio = Studio(models, outputs, device="cpu")
    if warm:
        studio.warm_up(warm)
    site, stop = start(studio)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield site
    torch.set_num_threads(threads)
    stop()
    studio.close()


def chromium() -> str | None:
    """The system's Chromium where there is one; None means Playwright's own."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


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
