"""Files: written beside their place and renamed, so that none is ever seen half written."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo


def cache_folder() -> Path:
    """Where what can be made again is kept: CONTACT_SHEET_CACHE, or the user's cache folder."""
    named = os.environ.get("CONTACT_SHEET_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "contact-sheet"


def save_png(path: Path, image: Image, info: PngInfo | None = None) -> Path:
    """A lossless picture, written whole or not at all.

    Raises: InvalidRequest: if the place cannot be written.
    """
    return _save(path, lambda file: image.save(file, "PNG", pnginfo=info))


def save_text(path: Path, text: str) -> Path:
    """A text in UTF-8, written whole or not at all.

    Raises: InvalidRequest: if the place cannot be written.
    """
    return _save(path, lambda file: file.write(text.encode()))


def _save(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with draft.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}") from None
    return path
