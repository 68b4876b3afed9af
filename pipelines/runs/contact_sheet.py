"""Contact sheet: draws a sheet's cells pixel for pixel, headers above and at the left."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.request.labels import column_texts, row_texts
from pipelines.request.sheet import Sheet

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

GAP = 4
PADDING = 8
INK, FAINT, PAPER = (24, 24, 27), (228, 228, 231), (255, 255, 255)
FAILED = (254, 226, 226)
WRAP_AT = 8
"""Pictures in a row, where a sheet has one axis only."""
MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class _Text:
    """How headers are set."""

    font: FreeTypeFont
    line: int
    character: float

    def wrap(self, text: str, width: int) -> list[str]:
        """Lines that fit into `width` pixels; what is too long ends in an ellipsis."""
        columns = max(4, int((width - 2 * PADDING) / self.character))
        lines = [line for part in text.split("\n") for line in textwrap.wrap(part, columns)]
        if len(lines) > MOST_LINES:
            lines = [*lines[: MOST_LINES - 1], lines[MOST_LINES - 1][: columns - 1] + "…"]
        return lines


def draw_grid(sheet: Sheet, pictures: Sequence[Image | None]) -> Image:
    """Draw one picture of all cells, in axis order; the last axis runs along the columns.

    A sheet of one axis is wrapped, every cell under its own header.

    Args:
        pictures: one a cell; None where it could not be made.
    Raises: ValueError: if their number is not the sheet's.
    """
    from PIL import Image

    columns, rows = column_texts(sheet), row_texts(sheet)
    if len(pictures) != len(columns) * len(rows):
        raise ValueError(f"{len(pictures)} pictures for {len(columns)}×{len(rows)} cells")
    sizes = [picture.size for picture in pictures if picture is not None] or [(128, 128)]
    cell = (max(w for w, _ in sizes), max(h for _, h in sizes))
    if len(sheet.axes) == 1 and len(columns) > WRAP_AT:
        return _wrapped(columns, pictures, cell)
    text = _text(cell[0])
    left = 0
    if len(sheet.axes) > 1:
        longest = max(len(line) for label in rows for line in label.split("\n"))
        left = min(int(longest * text.character) + 3 * PADDING, max(cell[0], 180))
    heads = [text.wrap(label, cell[0]) for label in columns]
    top = _height(heads, text)
    size = (
        left + len(columns) * (cell[0] + GAP) - GAP,
        top + len(rows) * (cell[1] + GAP) - GAP,
    )
    page = Image.new("RGB", size, PAPER)
    draw = _pen(page)
    for i, lines in enumerate(heads):
        _write(draw, text, lines, (left + i * (cell[0] + GAP), 0), (cell[0], top))
    for j, label in enumerate(rows):
        y = top + j * (cell[1] + GAP)
        if left:
            _write(draw, text, text.wrap(label, left), (0, y), (left, cell[1]))
        for i in range(len(columns)):
            _place(page, pictures[j * len(columns) + i], (left + i * (cell[0] + GAP), y), cell)
    return page


def _wrapped(
    labels: Sequence[str], pictures: Sequence[Image | None], cell: tuple[int, int]
) -> Image:
    from PIL import Image

    text = _text(cell[0])
    heads = [text.wrap(label, cell[0]) for label in labels]
    top = _height(heads, text)
    rows = -(-len(labels) // WRAP_AT)
    step = (cell[0] + GAP, top + cell[1] + GAP)
    page = Image.new("RGB", (WRAP_AT * step[0] - GAP, rows * step[1] - GAP), PAPER)
    draw = _pen(page)
    for number, (lines, picture) in enumerate(zip(heads, pictures, strict=True)):
        x, y = number % WRAP_AT * step[0], number // WRAP_AT * step[1]
        _write(draw, text, lines, (x, y), (cell[0], top))
        _place(page, picture, (x, y + top), cell)
    return page


def _text(cell_width: int) -> _Text:
    """The font that ships with Pillow, sized to the cells."""
    from PIL import ImageFont

    size = max(13, min(30, cell_width // 18))
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels carry FreeType"
    return _Text(font, round(size * 1.3), font.getlength("abcdefghij 0123456789") / 21)


def _height(heads: Sequence[Sequence[str]], text: _Text) -> int:
    most = max(len(lines) for lines in heads)
    return most * text.line + 2 * PADDING if most else 0


def _pen(page: Image) -> ImageDraw:
    from PIL import ImageDraw

    return ImageDraw.Draw(page)


def _write(
    draw: ImageDraw, text: _Text, lines: Sequence[str], at: tuple[int, int], box: tuple[int, int]
) -> None:
    """Lines of text in the middle of a box."""
    y = at[1] + (box[1] - len(lines) * text.line) // 2
    for line in lines:
        x = at[0] + (box[0] - text.font.getlength(line)) / 2
        draw.text((x, y), line, fill=INK, font=text.font)
        y += text.line


def _place(page: Image, picture: Image | None, at: tuple[int, int], cell: tuple[int, int]) -> None:
    """A picture at the middle of its cell; a tinted cell where there is none."""
    if picture is None:
        page.paste(FAILED, (*at, at[0] + cell[0], at[1] + cell[1]))
        return
    if picture.size != cell:
        page.paste(FAINT, (*at, at[0] + cell[0], at[1] + cell[1]))
    x = at[0] + (cell[0] - picture.width) // 2
    y = at[1] + (cell[1] - picture.height) // 2
    page.paste(picture, (x, y))
