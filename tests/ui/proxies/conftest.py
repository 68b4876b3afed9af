"""A studio whose page is served once for each place of a proxy in front of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from pipelines import Request, Sheet, Studio
from tests.ui import pages
from tests.ui.page_server import FLAGS, chromium
from tests.ui.proxies.servers import NAME, Certificates


@pytest.fixture(scope="package")
def studio(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with one picture made before: run 0, cell 0."""
    studio = Studio(models, tmp_path_factory.mktemp("outputs"), device="cpu")
    run = studio.submit(Sheet(base=Request(model="basic", steps=1)))
    pages.until(lambda: run.snapshot().finished, "a picture", 60)
    yield studio
    studio.close()


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.made_in(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="package")
def verify(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.authority))


@pytest.fixture(scope="package")
def named_browser(browser: Browser) -> Iterator[Browser]:
    """A browser for which `NAME` is this machine."""
    with browser.browser_type.launch(
        executable_path=chromium(), args=[*FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
    ) as named:
        yield named
