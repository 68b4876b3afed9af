"""Typeface: sets runs of one font at one size, colour fonts of fixed sizes included."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pipelines.runs.lettering.font_file import coverage
from pipelines.runs.lettering.font_search import FontFile

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

_FIXED = (109, 136, 128, 160, 96, 64, 72, 32, 20)
"""Heights of bitmap fonts: Noto Color Emoji, Apple Color Emoji and others have one or few."""
_EMOJI = 1.2
"""Height of a picture in the text by the text's size."""
INK = (24, 24, 27)


class Typeface:
    """Font at a size, measured once a text.

    Attributes:
        colour: whether it draws pictures in colour.
    Raises: OSError: if it cannot be opened.
    """

    def __init__(self, file: FontFile, size: int) -> None:
        self.file, self.size = file, size
        self._has = coverage(file.path, file.index)
        self.colour = self._has.colour
        self._font, self._scale = self._open()
        self.width = lru_cache(maxsize=4096)(self._width)
        self.heights = lru_cache(maxsize=4096)(self._heights)

    def has(self, characters: str) -> bool:
        """Tell whether the font has all of these characters."""
        return all(character in self._has for character in characters)

    def shows(self, text: str) -> bool:
        """Tell whether anything is drawn for a text: newer kinds of colour fonts stay blank."""
        return text.isspace() or self._font.getmask(text).getbbox() is not None

    def _width(self, text: str, leftward: bool) -> float:
        """Width of a run, in pixels."""
        text, direction = self._set(text, leftward)
        return self._font.getlength(text, direction=direction) * self._scale

    def _heights(self, cluster: str) -> tuple[int, int]:
        """Pixels that a cluster takes above and below its baseline."""
        if self.colour:
            height = round(self.size * _EMOJI)
            return round(height * 0.82), height - round(height * 0.82)
        _, top, _, bottom = self._font.getbbox(cluster, anchor="ls")
        return round(-top), round(bottom)

    def draw(self, page: Image, at: tuple[float, float], text: str, leftward: bool) -> None:
        """Draw a run whose baseline begins at a place of an RGB page."""
        from PIL import Image, ImageDraw

        width = max(1, round(self.width(text, leftward)))
        text, direction = self._set(text, leftward)
        if not self.colour:
            ImageDraw.Draw(page).text(
                at, text, fill=INK, font=self._font, anchor="ls", direction=direction
            )
            return
        left, top, right, bottom = self._font.getbbox(text, direction=direction, anchor="ls")
        size = max(1, round(right - left)), max(1, round(bottom - top))
        large = Image.new("RGBA", size)
        ImageDraw.Draw(large).text(
            (-left, -top), text, font=self._font, anchor="ls", direction=direction,
            embedded_color=True,
        )  # fmt: skip
        above, below = self.heights(text)
        small = large.resize((width, above + below), Image.Resampling.LANCZOS)
        page.paste(small, (round(at[0]), round(at[1]) - above), small)

    def _set(self, text: str, leftward: bool) -> tuple[str, str | None]:
        """What to hand to Pillow: without Raqm it knows no directions."""
        if shapes():
            return text, "rtl" if leftward else "ltr"
        return (text[::-1] if leftward else text), None

    def _open(self) -> tuple[FreeTypeFont, float]:
        from PIL import ImageFont

        def opened(size: int) -> FreeTypeFont:
            return ImageFont.truetype(str(self.file.path), size, index=self.file.index)

        if not self.colour:
            return opened(self.size), 1.0
        for size in _FIXED:
            try:
                font = opened(size)
            except OSError:
                continue
            _, top, _, bottom = font.getbbox("😀", anchor="ls")
            return font, self.size * _EMOJI / max(1.0, bottom - top)
        raise OSError(f"{self.file.path} has none of the sizes {_FIXED}")


@cache
def shapes() -> bool:
    """Tell whether Pillow shapes complex scripts here: its wheels do."""
    from PIL import features

    return bool(features.check("raqm"))
