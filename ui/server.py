"""Server: serves the page from one process at one address, and fetches nothing from elsewhere."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines import ContactSheetError, InvalidRequest, Studio
from ui.form.choices import model_choices
from ui.page import build
from ui.routes import add_routes
from ui.scripts import ASSETS
from ui.theme import looks

PORT = 7860
_PORTS_TRIED = 100
# Seconds for calls in flight at Ctrl+C: gradio prints a traceback for each that is cut off. Pages
# that watch a run never hang up, so this is also how long it takes to end.
_GRACE = 3
log = logging.getLogger(__name__)
_HEADERS = {
    # The page needs nothing from elsewhere; with this, no browser would fetch it either.
    # Gradio builds its templates with `new Function` and styles with inline CSS.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' blob: data:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class Guard:
    """Security headers: adds them to every answer, without touching streams.

    Gradio can also fetch a web address for whoever asks (`file=https://…`, `proxy=…`); this
    server asks nobody for anything, so those are refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        if any(part in scope.get("path", "") for part in ("file=http", "proxy=")):
            await PlainTextResponse("not served here", 403)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


class PageServer(uvicorn.Server):
    """Server of the page: uvicorn on a socket that is bound already; says when it is ready."""

    def __init__(self, app: FastAPI, bound: socket.socket, ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE, ws="none")
        )
        self.bound = bound
        self.ready = ready

    @property
    def url(self) -> str:
        """Address to open in a browser on this machine."""
        host, port = self.bound.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            host = "127.0.0.1"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready(self.url)

    def serve_forever(self) -> None:
        """Serve until the process is interrupted (Ctrl+C) or `should_exit` is set."""
        # uvicorn ends in good order first and then raises the signal again.
        with contextlib.suppress(KeyboardInterrupt):
            self.run(sockets=[self.bound])


def make_server(
    studio: Studio,
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    ready: Callable[[str], None] = lambda url: None,
) -> PageServer:
    """Make a server for the page, its port taken but nothing served yet.

    Args:
        port: None takes 7860 or the next free one; 0 any free one.
        ready: called with the address once the page can be opened.
    Raises: InvalidRequest: if the host is not of this machine or the port is taken.
    """
    bound = _bind(host, port)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_trusted(host))
    add_routes(app, studio)
    mount: dict[str, Any] = {
        "footer_links": ["api"],
        "run_history": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "show_error": False,
        "pwa": False,
        "favicon_path": str(ASSETS / "favicon.svg"),
        "max_file_size": "10mb",
        "allowed_paths": [str(studio.store.folder / "pictures")] if studio.store.folder else [],
        **looks(),
    }
    page = build(studio)
    page.queue(default_concurrency_limit=None)
    return PageServer(gr.mount_gradio_app(app, page, "/", **mount), bound, ready)


def serve(studio: Studio, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Serve the page until interrupted, and load the first model while the user reads it.

    Raises: InvalidRequest: as `make_server`.
    """

    def ready(url: str) -> None:
        print(f"Contact Sheet is at {url}", flush=True)
        threading.Thread(target=_warm_up, args=(studio,), name="warm-up", daemon=True).start()

    server = make_server(studio, host, port, ready=ready)
    try:
        server.serve_forever()
    finally:
        studio.close()


def _warm_up(studio: Studio) -> None:
    models = model_choices(studio)
    if not models:
        return
    try:
        studio.warm_up(models[0][1])
    except ContactSheetError as error:
        # The page says the same as soon as someone uses this model.
        log.warning("%s", error)


def _trusted(host: str) -> list[str]:
    """Host names a browser may ask for; any other hints at a rebound DNS name."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return ["*"]  # asked for by --host 0.0.0.0: the machine's names are not known
    except ValueError:
        pass
    return [host, "localhost", "127.0.0.1"]


def _bind(host: str, port: int | None) -> socket.socket:
    candidates = range(PORT, PORT + _PORTS_TRIED) if port is None else [port]
    for candidate in candidates:
        try:
            return socket.create_server((host, candidate), family=_family(host), backlog=2048)
        except OverflowError:
            raise InvalidRequest(f"port is {port}; it must be from 0 to 65535") from None
        except OSError as error:
            reason = error
    raise InvalidRequest(
        f"cannot serve at {host}, port {port or PORT}: {reason.strerror}; "
        "choose another with --port, or leave it out to take a free one"
    )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
