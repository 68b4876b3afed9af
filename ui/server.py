"""Server: serves the page from one process at one address, and fetches nothing from elsewhere."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.routes import App
from starlette.requests import Request as HttpRequest
from starlette.routing import Mount
from starlette.types import ASGIApp

from pipelines import Cancelled, ContactSheetError, InvalidRequest, Studio
from ui.cli.interruption import ended_by
from ui.form.choices import model_choices
from ui.guard.hosts import HostNames
from ui.guard.login import VARIABLE, LoggedIn, read_login
from ui.guard.stack import Guard
from ui.page import build
from ui.routes import add_routes
from ui.scripts import ASSETS
from ui.theme import looks
from ui.uploads import upload_folder

PORT = 7860
_PORTS_TRIED = 100
# Seconds for calls in flight at Ctrl+C: gradio prints a traceback for each that is cut off. Pages
# that watch a run never hang up, so this is also how long it takes to end.
_GRACE = 3
log = logging.getLogger(__name__)


class PageServer(uvicorn.Server):
    """Server of the page: uvicorn on a socket that is bound already; says when it is ready."""

    def __init__(self, app: ASGIApp, bound: socket.socket, ready: Callable[[str], None]) -> None:
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # It would print a traceback for every page that still watches a run.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)

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
    auth: str | None = None,
    allow_hosts: Sequence[str] = (),
    ready: Callable[[str], None] = lambda url: None,
) -> PageServer:
    """Make a server for the page, its port taken but nothing served yet.

    Args:
        port: None takes 7860 or the next free one; 0 any free one.
        auth: `USER:PASSWORD`, asked for before anything is served; other machines are served
            with one only.
        allow_hosts: names besides its own by which the server is called, as by a proxy.
        ready: called with the address once the page can be opened.
    Raises: InvalidRequest: if the host is not of this machine, the port is taken, or other
        machines could reach the page without a login.
    """
    login = None if auth is None else read_login(auth)
    names = HostNames.of(host, allow_hosts)
    bound = _bind(host, port)
    if login is None and not _is_loopback(bound):
        bound.close()
        raise InvalidRequest(
            f"at {host} other machines can reach the page; give it a login with --auth "
            f"USER:PASSWORD (or {VARIABLE}), or leave --host out"
        )
    upload_folder()
    studio.refuse_paths()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(app, studio)
    pictures = studio.store.folder / "pictures" if studio.store.folder else None
    mount: dict[str, Any] = {
        "footer_links": ["api"],
        "run_history": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "show_error": False,
        "pwa": False,
        "favicon_path": str(ASSETS / "favicon.svg"),
        "max_file_size": "10mb",
        "allowed_paths": [str(pictures)] if pictures else [],
        "auth": login,
        **looks(),
    }
    page = build(studio)
    page.queue(default_concurrency_limit=None)
    gr.mount_gradio_app(app, page, "/", **mount)
    # Without, Gradio does not check paths at all: a page that is mounted is never "launched".
    page.has_launched = True
    gradio_app = next(
        route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, App)
    )
    gradio_app.add_exception_handler(RequestValidationError, _misfit)
    guard = Guard(app, names, pictures, None if login is None else _logged_in(gradio_app))
    return PageServer(guard, bound, ready)


def serve(
    studio: Studio,
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    auth: str | None = None,
    allow_hosts: Sequence[str] = (),
) -> None:
    """Serve the page until interrupted, and load the first model while the user reads it.

    Raises: InvalidRequest: as `make_server`.
    """

    warming: list[threading.Thread] = []

    def ready(url: str) -> None:
        print(f"Contact Sheet is at {url}", flush=True)
        warming.append(threading.Thread(target=_warm_up, args=(studio,), daemon=True))
        warming[-1].start()

    server = make_server(studio, host, port, auth=auth, allow_hosts=allow_hosts, ready=ready)
    for line in studio.store.notices:
        print(f"note: {line}", flush=True)
    try:
        # The signal comes again when the server has ended; the worker is to end in order then.
        with ended_by(lambda: None):
            server.serve_forever()
            studio.close()
            for thread in warming:
                thread.join()
    finally:
        studio.close()


async def _misfit(_: HttpRequest, error: Exception) -> JSONResponse:
    """Say what a body lacks, without giving it back: FastAPI would repeat all of it."""
    assert isinstance(error, RequestValidationError)
    told = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()[:10]]
    return JSONResponse({"detail": told}, 422)


def _logged_in(gradio_app: App) -> LoggedIn:
    """Ask Gradio, which keeps the logins, whether a request comes with one."""

    def logged_in(request: HttpRequest) -> bool:
        names = (f"access-token-{kind}{gradio_app.cookie_id}" for kind in ("", "unsecure-"))
        return any(request.cookies.get(name) in gradio_app.tokens for name in names)

    return logged_in


def _warm_up(studio: Studio) -> None:
    models = model_choices(studio)
    if not models:
        return
    try:
        studio.warm_up(models[0][1])
    except Cancelled:
        return
    except ContactSheetError as error:
        # The page says the same as soon as someone uses this model.
        log.warning("%s", error)


def _is_loopback(bound: socket.socket) -> bool:
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


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
