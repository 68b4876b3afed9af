"""Gates: hold a manager's loads back, for a while or for want of room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.model_manager import component_loader
from pipelines.model_manager.component import Part
from pipelines.model_manager.manager import PipelineManager


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


def room_for_one(models: Path, *names: str) -> int:
    """Bytes of a budget in which any one of these models fits: those of the largest."""
    manager, most = PipelineManager([models], device="cpu"), 0
    for name in names:
        with manager.use(name):
            most = max(most, manager.cached_bytes)
        manager.free_idle()
    return most
