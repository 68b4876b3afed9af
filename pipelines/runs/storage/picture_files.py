"""Picture files: finished pictures as PNG, each at the address of all that decides its pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.request.request import Request
from pipelines.runs.png_metadata import read_request, write_png
from pipelines.utils.files import is_draft

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


class PictureFiles:
    """Finished pictures in a folder. All methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, address: str) -> Path:
        """Compute where the picture of this address lies, or would lie."""
        return self.folder / address[:2] / f"{address}.png"

    def read(self, address: str, request: Request | None = None) -> Image | None:
        """Read a finished picture; None if it was not made yet, or its file is damaged.

        Args:
            request: what the picture must have been made from; None takes whatever it says. Size
                and settings are compared before a pixel is decoded.
        """
        from PIL import Image

        path = self.path(address)
        try:
            with Image.open(path, formats=("PNG",)) as image:
                damage = _misfit(read_request(image), image.size, request)
                if damage is None:
                    image.load()
                    return image.copy()
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged file does to its decoder
            damage = str(error) or type(error).__name__
        log.warning("%s is damaged and counts as not made: %s", path, damage)
        return None

    def write(self, address: str, image: Image, request: Request) -> Path:
        """Write a picture with its settings; whole or not at all."""
        return write_png(self.path(address), image, request)

    def found(self) -> Iterator[tuple[float, str, Request]]:
        """Yield time of writing, address and Request of all pictures, the oldest first."""
        from PIL import Image

        files = []
        for path in self.folder.glob("??/*.png"):
            with suppress(OSError):
                files.append((path.stat().st_mtime, path))
        for written, path in sorted(files):
            with suppress(Exception), Image.open(path, formats=("PNG",)) as image:
                request = read_request(image)
                if request is not None:
                    yield written, path.stem, request


def _misfit(found: Request | None, size: tuple[int, int], wanted: Request | None) -> str | None:
    """What keeps a file from being the picture of a Request; None if it is."""
    if found is None:
        return "it carries no settings"
    if wanted is not None and found != wanted:
        return "it carries the settings of another picture"
    if found.width and found.height and size != (found.width, found.height):
        return f"it has {size[0]} × {size[1]} pixels instead of {found.width} × {found.height}"
    return None


def sweep_drafts(folders: Iterable[Path], before: float) -> int:
    """Delete drafts that were last written before a moment; their writers are gone.

    Returns: how many there were.
    """
    count = 0
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in filter(is_draft, names):
                path = Path(place, name)
                with suppress(OSError):
                    if path.stat().st_mtime < before:
                        path.unlink()
                        count += 1
    return count
