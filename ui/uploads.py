"""Uploads: keeps what clients send in a folder of this process, and opens nothing else for them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines import InvalidRequest
from pipelines.utils.images import open_picture

_GRADIOS = "GRADIO_TEMP_DIR"
_PREFIX = "contact-sheet-"
_MARK = ".page"
"""File in the folder: what is older is the page's own."""


@cache
def upload_folder() -> Path:
    """Make the folder in which Gradio keeps uploads and what it hands out; gone at exit.

    It is this process's alone: Gradio's usual one, `gradio` in the machine's folder for temporary
    files, holds what any other program put there. Call it before the page is built.
    """
    parent = os.environ.get(_GRADIOS)
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    _remove_left_behind(Path(parent or tempfile.gettempdir()))
    prefix = f"{_PREFIX}{os.getpid()}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent or None)).resolve()
    os.environ[_GRADIOS] = str(folder)  # Gradio has no other way to be told
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_left_behind(parent: Path) -> None:
    """Remove the folders of processes that were killed before they could do it themselves."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdecimal() and len(number) < 10 and not _is_alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))


def keep_what_is_here() -> None:
    """Let `sweep_uploads` spare what the page itself put into the folder until now."""
    (upload_folder() / _MARK).touch()


def sweep_uploads(most: int) -> None:
    """Remove the oldest files until there are no more than so many bytes."""
    mark = upload_folder() / _MARK
    begun = mark.stat().st_mtime if mark.exists() else 0.0
    found = []
    for file in upload_folder().rglob("*"):
        with suppress(OSError):
            status = file.stat()
            if file.is_file() and file != mark and status.st_mtime >= begun:
                found.append((status.st_mtime, status.st_size, file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= most:
            return
        with suppress(OSError):
            file.unlink()
            total -= size


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
