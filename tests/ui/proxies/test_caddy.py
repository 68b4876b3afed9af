"""Through a real Caddy, as the README says."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from pipelines import Studio
from tests.ui.page_server import start
from tests.ui.proxies.servers import NAME, Certificates, caddy, free_port, readme_example
from tests.ui.proxies.visit import ask, visit


def test_the_readmes_example_serves_the_page(
    studio: Studio,
    named_browser: Browser,
    certificates: Certificates,
    verify: ssl.SSLContext,
    tmp_path: Path,
    picture: Path,
) -> None:
    port = free_port()
    site, stop = start(
        studio, allow_hosts=[NAME], root_path="/sheet", trusted_proxies=["127.0.0.1"]
    )
    names = f"https://{NAME}:{port}, https://127.0.0.1:{port}"
    example = (
        readme_example("caddy")
        .replace(f"{NAME} {{", f"{names} {{\n tls {certificates.chain} {certificates.key}")
        .replace("127.0.0.1:7860", site.url.removeprefix("http://"))
    )
    try:
        with caddy(example, port, tmp_path):
            visit(named_browser, f"https://{NAME}:{port}/sheet/", picture)
            ask(f"https://127.0.0.1:{port}/sheet", picture, verify)
            answer = httpx.get(f"https://127.0.0.1:{port}/sheet", verify=verify)
            assert answer.headers["location"] == "/sheet/"
    finally:
        stop()
