"""Pictures that users bring, kept by content: the same picture has one name and one file."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest, UnknownName
from pipelines.metadata import PIXELS_MAX
from pipelines.store import save_png

if TYPE_CHECKING:
    from PIL.Image import Image


class Shelf:
    """Pictures by the hash of their pixels. All methods may be called from any thread.

    Args:
        folder: keeps them as lossless PNG; None keeps them in memory, as long as this lives.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._memory: dict[str, Image] = {}
        self._lock = threading.Lock()

    def add(self, picture: Image | bytes | str | Path) -> str:
        """Keep a picture; its hash, which stands for it in a Control.

        Raises: InvalidRequest: if it is no picture, is too large, or cannot be written.
        """
        image = to_rgb(picture) if _is_image(picture) else open_picture(picture)
        name = content_hash(image)
        if self._folder is None:
            with self._lock:
                self._memory.setdefault(name, image)
        elif not self._path(name).is_file():
            save_png(self._path(name), image)
        return name

    def get(self, name: str) -> Image:
        """A picture, RGB. Raises: UnknownName: if it is not here, or its file is damaged."""
        if self._folder is None:
            with self._lock:
                image = self._memory.get(name)
        else:
            image = self._read(self._path(name))
        if image is None or content_hash(image) != name:
            raise UnknownName(
                f"picture {name[:12]}… is not here; add it first "
                "(--control FILE, or studio.add_picture)"
            )
        return image

    def has(self, name: str) -> bool:
        """Whether a picture is here, without reading it."""
        if self._folder is None:
            with self._lock:
                return name in self._memory
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        assert self._folder is not None, "pictures in memory have no files"
        return self._folder / name[:2] / f"{name}.png"

    def _read(self, path: Path) -> Image | None:
        try:
            return open_picture(path)
        except InvalidRequest:
            return None


def _is_image(picture: object) -> bool:
    return not isinstance(picture, bytes | str | Path)


def content_hash(image: Image) -> str:
    """64 hex digits for the pixels of an RGB picture, whatever file they came in."""
    material = hashlib.sha256(f"RGB {image.width}x{image.height}\n".encode())
    material.update(image.tobytes())
    return material.hexdigest()


def open_picture(source: object) -> Image:
    """A picture file's contents, RGB, upright, what is transparent over white.

    Args:
        source: a path, or a file's bytes.
    Raises: InvalidRequest: if it is no picture or has more than PIXELS_MAX pixels; that is
        read from its header, before anything is decoded.
    """
    from PIL import Image, UnidentifiedImageError

    said = "the picture" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes | str | Path):
        raise InvalidRequest(f"{type(source).__name__} is no picture; give a file or a PIL image")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return to_rgb(image, said)
    except FileNotFoundError:
        raise InvalidRequest(f"{said} does not exist") from None
    except Image.DecompressionBombError as error:
        raise InvalidRequest(f"{said} has too many pixels: {error}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidRequest(f"{said} cannot be read as a picture: {error}") from None


def to_rgb(picture: object, said: str = "the picture") -> Image:
    """An RGB copy of a PIL image, upright, what is transparent over white.

    Raises: InvalidRequest: if it is none, or has more than PIXELS_MAX pixels.
    """
    from PIL import Image, ImageOps

    if not isinstance(picture, Image.Image):
        raise InvalidRequest(f"{type(picture).__name__} is no picture; give a file or a PIL image")
    if picture.width * picture.height > PIXELS_MAX:
        raise InvalidRequest(
            f"{said} has {picture.width} × {picture.height} pixels; at most "
            f"{PIXELS_MAX} are read; make it smaller"
        )
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        seen = upright.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        raise InvalidRequest(
            f"{said} has {upright.mode} pixels, whose range is not known; save it with 8 bits"
        )
    return upright.convert("RGB")
