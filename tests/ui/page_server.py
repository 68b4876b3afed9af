"""A real server on a real socket, and where its browser is."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipelines import Studio
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


def start(studio: Studio, port: int | None = 0, **options: Any) -> tuple[Site, Callable[[], None]]:
    """Serve a studio's page in a thread; what stops it comes along.

    Args:
        options: of `make_server`.
    """
    ready = threading.Event()
    server = make_server(studio, port=port, ready=lambda url: ready.set(), **options)
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
