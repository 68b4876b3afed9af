"""Held picture: a finished picture in memory, or read again from its file once it was let go."""

from __future__ import annotations

import logging
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.utils.images import PIXELS_MAX, open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

HELD_BYTES = 256 * 2**20
"""Bytes that the finished pictures of one run may take in memory, where their files have them."""


class HeldPicture:
    """Picture of a cell. Any thread may ask for it.

    Args:
        file: where it lies as well; None where nowhere, and then it always stays in memory.
    """

    def __init__(self, image: Image, file: Path | None = None) -> None:
        self._image: Image | None = image
        self._seen = weakref.ref(image)
        self.file = file
        self.bytes = image.width * image.height * len(image.getbands())

    @property
    def held(self) -> Image | None:
        """The picture, if it is in memory."""
        return self._image or self._seen()

    @property
    def image(self) -> Image | None:
        """The picture, read from its file if need be; None if that is not there any more."""
        found = self.held
        if found is None and self.file is not None:
            try:
                found = open_picture(self.file, PIXELS_MAX, made_here=True)
            except Exception as error:  # whatever befell the file since it was written
                log.warning("%s cannot be read again: %s", self.file, error)
                return None
            self._seen = weakref.ref(found)
        return found

    def let_go(self) -> None:
        """Keep it in memory no longer than others do."""
        if self.file is not None:
            self._image = None


class HeldPictures:
    """Pictures of one run, of which the newest stay in memory, within a budget of bytes.

    Args:
        most: the budget; None is HELD_BYTES.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = HELD_BYTES if most is None else most
        self._held: deque[HeldPicture] = deque()
        self._bytes = 0

    def add(self, picture: HeldPicture) -> None:
        """Hold a picture; the oldest are let go for it."""
        if picture.file is None:
            return
        self._held.append(picture)
        self._bytes += picture.bytes
        while self._bytes > self._most and len(self._held) > 1:
            oldest = self._held.popleft()
            oldest.let_go()
            self._bytes -= oldest.bytes
