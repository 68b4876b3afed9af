"""Gates: hold a manager's loads back while a test prepares what happens next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipelines.model_manager import component_loader
from pipelines.model_manager.component import Part


@contextmanager
def loads_wait() -> Iterator[None]:
    """Whoever loads a component while the block runs waits until it ends."""
    gate, load = threading.Event(), component_loader.load

    def wait(part: Part, device: str) -> Any:
        assert gate.wait(60), "the block never ends"
        return load(part, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_loader, "load", wait)
        try:
            yield
        finally:
            gate.set()
