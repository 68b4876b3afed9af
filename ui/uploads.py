"""Uploads: keeps what clients send in a folder of this process, and opens nothing else for them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines import InvalidRequest
from pipelines.utils.images import open_picture

_GRADIOS = "GRADIO_TEMP_DIR"


@cache
def upload_folder() -> Path:
    """Make the folder in which Gradio keeps uploads and what it hands out; gone at exit.

    It is this process's alone: Gradio's usual one, `gradio` in the machine's folder for temporary
    files, holds what any other program put there. Call it before the page is built.
    """
    parent = os.environ.get(_GRADIOS)
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="contact-sheet-", dir=parent or None)).resolve()
    os.environ[_GRADIOS] = str(folder)  # Gradio has no other way to be told
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_upload(path: str) -> bool:
    """Tell whether a path is that of a file which was uploaded, or made here for a client."""
    return is_below(upload_folder(), path)


def is_below(folder: Path, path: str) -> bool:
    """Tell whether a file lies in a folder when all links and dots are followed."""
    try:
        found = Path(path).resolve(strict=True)
        return found.is_file() and found.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False  # not there, no path at all, or links in a ring


def opened(file: Any) -> Image.Image:
    """Open the picture of an uploaded file; no other file of this machine is looked at.

    Raises: InvalidRequest: if it is no such file, or no picture.
    """
    return open_picture(sent_bytes(file))


def sent_bytes(file: Any) -> bytes:
    """Read an uploaded file as Gradio hands it to a handler.

    Raises: InvalidRequest: if it is no such file.
    """
    if not isinstance(file, Mapping) or not file:
        raise InvalidRequest(
            f"image is {str(file)[:40]!r}; send a file (gradio_client.handle_file)"
        )
    path = file.get("path")
    if not isinstance(path, str) or not is_upload(path):
        raise InvalidRequest("image is no file that was uploaded; send it with handle_file")
    try:
        return Path(path).read_bytes()
    except OSError:
        raise InvalidRequest("image is no longer here; upload it again") from None
