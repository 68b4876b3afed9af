"""Tiny models of every family for runs on a pretended card."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.tiny import controlnet, save_sd
from tests.helpers.tiny_families import save_all


@pytest.fixture(scope="package")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: one model of each family, and a ControlNet of sd."""
    folder = save_all(tmp_path_factory.mktemp("zoo"))
    save_sd(folder / "sd")
    controlnet().save_pretrained(folder / "net-canny")
    return folder


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """All of these models are tiny."""
