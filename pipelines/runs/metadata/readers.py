"""Readers of foreign settings: the tools in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.runs.metadata.carriers.hidden_alpha import hidden_text
from pipelines.runs.metadata.comfyui import reader as comfyui
from pipelines.runs.metadata.parts.settings import Settings
from pipelines.runs.metadata.tools import (
    automatic1111,
    civitai,
    fooocus,
    invokeai,
    novelai,
    swarmui,
)

Reader = Callable[[Mapping[str, str]], Settings | None]
# From marks that only one tool writes to what many write; a graph comes after a text that a node
# wrote for people, plain JSON last.
READERS: tuple[Reader, ...] = (
    swarmui.read,
    invokeai.read,
    novelai.read,
    fooocus.read,
    civitai.read,
    automatic1111.read,
    comfyui.read,
    civitai.read_plain,
)


def read_foreign(texts: Mapping[str, str], path: Path) -> Settings | None:
    """Read the settings that any known tool wrote; None if there are none.

    Args:
        texts: of the picture, by keyword.
        path: of the picture, whose pixels may hide a text where no other is found.
    """
    found = _read(texts)
    if found is None:
        hidden = hidden_text(path)
        found = _read({"parameters": hidden}) if hidden else None
    return found


def _read(texts: Mapping[str, str]) -> Settings | None:
    for reader in READERS:
        found = reader(texts)
        if found is not None and found.says_something:
            return found
    return None
