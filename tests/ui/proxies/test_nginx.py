"""Through a real nginx: at the root, at a sub-path, with TLS, under another name, on IPv6."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from pipelines import Studio
from tests.ui.page_server import start
from tests.ui.proxies.servers import NAME, Certificates, free_port, nginx, readme_example
from tests.ui.proxies.visit import ask, picture_at, visit

TELLS = (
    "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
)
ROOTED: dict[str, Any] = {"root_path": "/sheet"}
TRUSTED: dict[str, Any] = {"trusted_proxies": ["127.0.0.1", "::1"]}
# Each: what nginx does, the options of the server behind it, and where the page then is.
PLACES: dict[str, tuple[str, dict[str, Any], str]] = {
    "root": ("location / { proxy_pass UP; }", {}, "/"),
    "root, told": (f"location / {{ proxy_pass UP; {TELLS} }}", TRUSTED, "/"),
    "taken off": (f"location /sheet/ {{ proxy_pass UP/; {TELLS} }}", ROOTED | TRUSTED, "/sheet/"),
    "left": (f"location /sheet/ {{ proxy_pass UP; {TELLS} }}", ROOTED, "/sheet/"),
    "not told": ("location /sheet/ { proxy_pass UP/; }", {}, "/sheet/"),
    "prefix": (
        f"location /a/b/ {{ proxy_pass UP/; {TELLS} proxy_set_header X-Forwarded-Prefix /a/b; }}",
        TRUSTED, "/a/b/",
    ),
    "like a route": (
        f"location /sheets/ {{ proxy_pass UP/; {TELLS} }}", {"root_path": "sheets/"}, "/sheets/",
    ),
    "no slash": ("location /sheet { proxy_pass UP/; }", ROOTED, "/sheet"),
}  # fmt: skip


@contextmanager
def served_by_nginx(
    studio: Studio, folder: Path, server: str, listen: str, port: int, **options: Any
) -> Iterator[None]:
    """nginx at a port, with the page behind it."""
    site, stop = start(studio, **options)
    try:
        block = f"server {{ listen {listen}; {server.replace('UP', site.url)} }}"
        with nginx(block, port, folder):
            yield
    finally:
        stop()


@pytest.mark.parametrize("place", PLACES)
def test_the_page_is_whole_wherever_nginx_puts_it(
    studio: Studio, browser: Browser, tmp_path: Path, picture: Path, place: str
) -> None:
    server, options, path = PLACES[place]
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    if "Host" not in server:
        options = options | {"allow_hosts": [f"127.0.0.1:{port}"]}
    with served_by_nginx(studio, tmp_path, server, f"127.0.0.1:{port}", port, **options):
        visit(browser, origin + path, picture)
        ask((origin + path).rstrip("/"), picture)
        run = studio.recent(1)[0].id
        link = f"{origin}{path.rstrip('/')}/pictures/{run}/0.png"
        assert picture_at(link).width > 0


def test_tls_and_another_name_as_the_readme_says(
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
    example = (
        readme_example("nginx")
        .replace("listen 443", f"listen 127.0.0.1:{port}")
        .replace("/etc/ssl/example.org.pem", str(certificates.chain))
        .replace("/etc/ssl/example.org.key", str(certificates.key))
        .replace("http://127.0.0.1:7860", site.url)
    )
    try:
        with nginx(example, port, tmp_path):
            visit(named_browser, f"https://{NAME}:{port}/sheet/", picture)
            ask(f"https://127.0.0.1:{port}/sheet", picture, verify)
    finally:
        stop()


def test_from_ipv6_to_ipv6(studio: Studio, browser: Browser, tmp_path: Path, picture: Path) -> None:
    port = free_port("::1")
    server = f"location /sheet/ {{ proxy_pass UP; {TELLS} }}"
    options = {"host": "::1", **ROOTED, **TRUSTED}
    with served_by_nginx(studio, tmp_path, server, f"[::1]:{port}", port, **options):
        visit(browser, f"http://[::1]:{port}/sheet/", picture)
        ask(f"http://[::1]:{port}/sheet", picture)
