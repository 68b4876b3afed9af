"""Server: serves the page from one process at one address, and fetches nothing from elsewhere."""

from __future__ import annotations

import contextlib
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
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.routing import Mount
from starlette.types import ASGIApp

from pipelines import Cancelled, ContactSheetError, InvalidRequest, Studio
from ui.certificate import Certificate
from ui.cli.interruption import ended_by
from ui.form.choices import model_choices
from ui.guard.addresses import API
from ui.guard.connections import limits
from ui.guard.forwarded import Proxies
from ui.guard.hosts import HostNames
from ui.guard.login import VARIABLE, LoggedIn, read_login
from ui.guard.root_path import read_root_path
from ui.guard.stack import Guard
from ui.listeners import PORT as PORT
from ui.listeners import address_of, is_loopback, listen, without_brackets
from ui.page import build
from ui.relative_page import RelativePage
from ui.routes import add_routes
from ui.scripts import ASSETS
from ui.theme import looks
from ui.uploads import keep_what_is_here, upload_folder

# Seconds for calls in flight at Ctrl+C: gradio prints a traceback for each that is cut off. Pages
# that watch a run never hang up, so this is also how long it takes to end.
_GRACE = 3
_OF_PROXIES = ("allow_hosts", "root_path", "trusted_proxies")
log = logging.getLogger(__name__)


class PageServer(uvicorn.Server):
    """Server of the page: uvicorn on sockets that are bound already; says when it is ready."""

    def __init__(
        self,
        app: ASGIApp,
        listeners: Sequence[socket.socket],
        certificate: Certificate | None,
        ready: Callable[[str], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", timeout_graceful_shutdown=_GRACE, ws="none",
                # Forwarded headers are the guard's; uvicorn would believe all of this machine.
                proxy_headers=False, **limits(),
                **({} if certificate is None else certificate.options()),
            )
        )  # fmt: skip
        self.listeners = list(listeners)
        self.ready = ready

    @property
    def bound(self) -> socket.socket:
        """Listener at the address that is printed."""
        return self.listeners[0]

    @property
    def url(self) -> str:
        """Address to open in a browser on this machine."""
        scheme = "https" if self.config.is_ssl else "http"
        return f"{scheme}://{address_of(self.bound)}"

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
            self.run(sockets=self.listeners)


def make_server(
    studio: Studio,
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    auth: str | None = None,
    allow_hosts: Sequence[str] = (),
    root_path: str = "",
    trusted_proxies: Sequence[str] = (),
    certificate: Certificate | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> PageServer:
    """Make a server for the page, its port taken but nothing served yet.

    Args:
        port: None takes 7860 or the next free one; 0 any free one.
        auth: `USER:PASSWORD`, asked for before anything is served; other machines are served
            with one only.
        allow_hosts: names besides its own by which the server is called, as by a proxy.
        root_path: below which a proxy serves the page, such as `/sheet`.
        trusted_proxies: addresses and networks whose forwarded headers are believed.
        certificate: None serves unencrypted.
        ready: called with the address once the page can be opened.
    Raises: InvalidRequest: if the host is not of this machine, the port is taken, an argument is
        none, or other machines could reach the page without a login.
    """
    login = None if auth is None else read_login(auth)
    host = without_brackets(host)
    names = HostNames.of(host, allow_hosts)
    proxies = Proxies.of(trusted_proxies)
    root_path = read_root_path(root_path)
    if certificate is not None:
        certificate.check()
    bound = listen(host, port)
    if login is None and not is_loopback(bound):
        for one in bound:
            one.close()
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
    keep_what_is_here()
    page.root_path = ""  # GRADIO_ROOT_PATH is an option of ours; the guard carries it out
    gradio_app = next(
        route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, App)
    )
    gradio_app.root_path = ""
    gradio_app.add_exception_handler(RequestValidationError, _misfit)
    gradio_app.user_middleware.append(Middleware(RelativePage))
    guard = Guard(
        app, names, pictures, None if login is None else _logged_in(gradio_app),
        proxies=proxies, root_path=root_path, is_route=_routes(app, gradio_app),
    )  # fmt: skip
    return PageServer(guard, bound, certificate, ready)


def serve(
    studio: Studio,
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    auth: str | None = None,
    **options: Any,
) -> None:
    """Serve the page until interrupted, and load the first model while the user reads it.

    Args:
        options: of `make_server`.
    Raises: InvalidRequest: as `make_server`.
    """

    warming: list[threading.Thread] = []

    def ready(url: str) -> None:
        print(f"Contact Sheet is at {url}", flush=True)
        if auth is None and any(options.get(one) for one in _OF_PROXIES):
            log.warning(
                "Whoever reaches the proxy can use the page: it asks for no login (--auth)."
            )
        warming.append(
            threading.Thread(target=_warm_up, args=(studio,), name="warm-up", daemon=True)
        )
        warming[-1].start()

    server = make_server(studio, host, port, auth=auth, ready=ready, **options)
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


def _routes(app: FastAPI, gradio_app: App) -> Callable[[str], bool]:
    """Tell of an address whether it begins like one that is served, ours or Gradio's."""
    routes = [*app.routes, *gradio_app.routes]
    paths = [getattr(route, "path", "") for route in routes]
    first = {*(path.split("/")[1] for path in paths if path.count("/")), API.strip("/")} - {""}
    return lambda path: path.split("/")[1] in first
