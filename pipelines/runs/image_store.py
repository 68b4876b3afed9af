"""Image store: keeps the pictures that users bring, addressed by their content."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest, UnknownName
from pipelines.utils.files import save_png, save_text
from pipelines.utils.images import PIXELS_MAX, content_hash, flatten, open_picture

if TYPE_CHECKING:
    from PIL.Image import Image


_NAME = re.compile(r"[0-9a-f]{32}")


class ImageStore:
    """Image store addressed by the hash of pixels. All methods may be called from any thread.

    Args:
        folder: keeps them as lossless PNG; None keeps them in memory, as long as this lives.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._memory: dict[str, Image] = {}
        self._texts: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, picture: Image | bytes | str | Path) -> str:
        """Keep a picture and return its hash, which stands for it in a Control.

        Raises: InvalidRequest: if it is no picture, is too large, or cannot be written.
        """
        if isinstance(picture, str | Path):
            image = open_picture(Path(picture))
        elif isinstance(picture, bytes):
            image = open_picture(picture)
        else:
            image = _plain(picture)
        name = content_hash(image)
        if self._folder is None:
            with self._lock:
                self._memory.setdefault(name, image)
        elif not self._path(name).is_file():
            save_png(self._path(name), image)
        return name

    def get(self, name: str) -> Image:
        """Read a picture, RGB. Raises: UnknownName: if it is not here, or its file is damaged."""
        if self._folder is None:
            with self._lock:
                image = self._memory.get(name)
        else:
            # A name that is no hash could lead out of the folder.
            image = self._read(self._path(name)) if _NAME.fullmatch(name) else None
        if image is None or content_hash(image) != name:
            raise UnknownName(
                f"picture {name[:12]}… is not here; add it first "
                "(--control FILE, or studio.add_picture)"
            )
        return image

    def has(self, name: str) -> bool:
        """Tell whether a picture is here, without reading it."""
        if self._folder is None:
            with self._lock:
                return name in self._memory
        return bool(_NAME.fullmatch(name)) and self._path(name).is_file()

    def annotate(self, name: str, text: str) -> None:
        """Keep a text with a picture; the last one counts.

        Raises: UnknownName: if the picture is not here. InvalidRequest: if it cannot be written.
        """
        if not self.has(name):
            self.get(name)  # says why not
        if self._folder is None:
            with self._lock:
                self._texts[name] = text
        else:
            save_text(self._path(name).with_suffix(".json"), text)

    def annotation(self, name: str) -> str | None:
        """Read the text kept with a picture; None if there is none."""
        if self._folder is None:
            with self._lock:
                return self._texts.get(name)
        path = self._path(name).with_suffix(".json")
        if not _NAME.fullmatch(name) or not path.is_file():
            return None
        return path.read_text(encoding="utf-8")

    def _path(self, name: str) -> Path:
        assert self._folder is not None, "pictures in memory have no files"
        return self._folder / name[:2] / f"{name}.png"

    def _read(self, path: Path) -> Image | None:
        try:
            return open_picture(path, made_here=True)
        except InvalidRequest:
            return None


def _plain(picture: object) -> Image:
    """An RGB copy of a PIL image. Raises: InvalidRequest: if it is none, or too large."""
    from PIL import Image, ImageOps

    if not isinstance(picture, Image.Image):
        raise InvalidRequest(f"{type(picture).__name__} is no picture; give a file or a PIL image")
    if picture.width * picture.height > PIXELS_MAX:
        raise InvalidRequest(
            f"the picture has {picture.width} × {picture.height} pixels; at most "
            f"{PIXELS_MAX:,} are allowed: make it smaller"
        )
    return flatten(ImageOps.exif_transpose(picture).copy())
