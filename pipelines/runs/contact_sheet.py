"""Contact sheet: draws a sheet's cells pixel for pixel, headers above and at the left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod, sqrt
from typing import TYPE_CHECKING

from pipelines.errors import OutOfMemory
from pipelines.request.labels import column_texts, row_texts
from pipelines.request.sheet import Sheet
from pipelines.runs.lettering.typeface import INK as INK
from pipelines.utils.images import GRID_PIXELS_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from pipelines.runs.lettering.typesetter import Line, Typesetter

GAP = 4
PADDING = 8
SIDE = 2
"""At the sides of a header, which may be as narrow as a small picture."""
FAINT, PAPER = (228, 228, 231), (255, 255, 255)
FAILED = (254, 226, 226)
WRAP_AT = 8
"""Pictures in a row, where a sheet has one axis only."""
MOST_LINES = 6
COLUMN_MIN, ROW_LABEL_MIN = 96, 180
"""Pixels that a header may take where its picture is narrower: a word's, and a row's label's."""
_CELL_MIN = 16
_PIXELS_LEAST = 2**18
"""A grid of fewer is not tried where memory is short."""
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a grid.

    Attributes:
        size: of the page, in pixels.
        cell: width and height that a picture has at most.
        scale: of pictures; 1 = pixel for pixel.
        cells: left and top of every cell, in axis order.
        headers: lines and the box that they stand in the middle of.
    """

    size: tuple[int, int]
    cell: tuple[int, int]
    scale: float
    cells: tuple[tuple[int, int], ...]
    headers: tuple[tuple[list[Line], Box], ...]
    type: Typesetter

    def draw(self, pictures: Sequence[Image | None]) -> Image:
        """Draw the page. Raises: OutOfMemory: if it does not fit into memory."""
        from PIL import Image

        try:
            page = Image.new("RGB", self.size, PAPER)
            for lines, box in self.headers:
                self.type.draw(page, lines, box)
            for picture, at in zip(pictures, self.cells, strict=True):
                self._place(page, picture, at)
        except MemoryError:
            width, height = self.size
            raise OutOfMemory(
                f"memory does not suffice for a grid of {width} × {height} pixels"
            ) from None
        return page

    def _place(self, page: Image, picture: Image | None, at: tuple[int, int]) -> None:
        """A picture at the middle of its cell; a tinted cell where there is none."""
        if picture is None:
            page.paste(FAILED, (*at, at[0] + self.cell[0], at[1] + self.cell[1]))
            return
        if self.scale < 1:
            picture = picture.resize(_scaled(picture.size, self.scale))
        if picture.size != self.cell:
            page.paste(FAINT, (*at, at[0] + self.cell[0], at[1] + self.cell[1]))
        x = at[0] + (self.cell[0] - picture.width) // 2
        y = at[1] + (self.cell[1] - picture.height) // 2
        page.paste(picture, (x, y))


def draw_grid(sheet: Sheet, pictures: Sequence[Image | None]) -> Image:
    """Draw one picture of all cells, in axis order; the last axis runs along the columns.

    A sheet of one axis is wrapped, every cell under its own header. A large one is scaled down.

    Args:
        pictures: one a cell; None where it could not be made.
    Raises: ValueError: if their number is not the sheet's.
        OutOfMemory: if the page does not fit into memory.
    """
    return settled(sheet, pictures)[0]


def settled(sheet: Sheet, pictures: Sequence[Image | None]) -> tuple[Image, Layout]:
    """Draw a grid as large as memory allows, and say how it was laid out.

    Raises: ValueError, OutOfMemory: as `draw_grid` does.
    """
    pixels_max = GRID_PIXELS_MAX
    while True:
        layout = lay_out(sheet, pictures, pixels_max)
        try:
            return layout.draw(pictures), layout
        except OutOfMemory:
            pixels_max = min(pixels_max, prod(layout.size)) // 4
            if pixels_max < _PIXELS_LEAST:
                raise


def scale_note(layout: Layout, place: Path) -> str:
    """Say how a grid was scaled down, in one line."""
    width, height = layout.size
    return (
        f"{place} is {width} × {height} pixels, its cells at {layout.scale:.0%} of their size: "
        "whole, it would be too large; the cells are whole"
    )


def lay_out(
    sheet: Sheet, pictures: Sequence[Image | None], pixels_max: int = GRID_PIXELS_MAX
) -> Layout:
    """Lay a grid out, its pictures as large as they are or as `pixels_max` pixels allow.

    Raises: ValueError: if the number of pictures is not the sheet's.
    """
    columns, rows = column_texts(sheet), row_texts(sheet)
    if len(pictures) != len(columns) * len(rows):
        raise ValueError(f"{len(pictures)} pictures for {len(columns)}×{len(rows)} cells")
    sizes = [picture.size for picture in pictures if picture is not None] or [(128, 128)]
    whole = (max(w for w, _ in sizes), max(h for _, h in sizes))
    wrapped = len(sheet.axes) == 1 and len(columns) > WRAP_AT
    scale = 1.0
    while True:
        cell = _scaled(whole, scale)
        made = _wrapped(columns, cell, scale) if wrapped else _table(columns, rows, cell, scale)
        pixels = prod(made.size)
        if pixels <= pixels_max or min(cell) <= _CELL_MIN:
            return made
        scale *= sqrt(pixels_max / pixels) * 0.995


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _table(
    columns: Sequence[str], rows: Sequence[str], cell: tuple[int, int], scale: float
) -> Layout:
    """Rows and columns, as a sheet of several axes is shown."""
    type, width = _type(columns, cell)
    heads = type.set_labels(columns, width - 2 * SIDE, MOST_LINES)
    left, labels = 0, [list["Line"]() for _ in rows]
    if any(rows):
        widest = round(type.widest_line(rows)) + 2 * PADDING
        left = min(widest, max(cell[0], ROW_LABEL_MIN))
        most = max(MOST_LINES, cell[1] // round(1.3 * type.size))
        labels = type.set_labels(rows, left - 2 * PADDING, most)
    top = _height(heads)
    heights = [max(cell[1], _tall(lines) + PADDING if lines else 0) for lines in labels]
    tops = [top, *accumulate((height + GAP for height in heights), initial=top)][1:-1]
    step, inset = width + GAP, (width - cell[0]) // 2
    headers = [(lines, (left + i * step, 0, width, top)) for i, lines in enumerate(heads)]
    headers += [
        (lines, (0, y, left, height))
        for lines, y, height in zip(labels, tops, heights, strict=True)
    ]
    cells = tuple(
        (left + i * step + inset, y + (height - cell[1]) // 2)
        for y, height in zip(tops, heights, strict=True)
        for i in range(len(columns))
    )
    size = (left + len(columns) * step - GAP, tops[-1] + heights[-1])
    return Layout(size, cell, scale, cells, tuple(headers), type)


def _wrapped(labels: Sequence[str], cell: tuple[int, int], scale: float) -> Layout:
    """One axis in several rows, each cell under its own header."""
    type, width = _type(labels, cell)
    heads = type.set_labels(labels, width - 2 * SIDE, MOST_LINES)
    step, inset = width + GAP, (width - cell[0]) // 2
    cells: list[tuple[int, int]] = []
    headers: list[tuple[list[Line], Box]] = []
    y = 0
    for row in _rows(heads):
        top = _height(row)
        for i, lines in enumerate(row):
            headers.append((lines, (i * step, y, width, top)))
            cells.append((i * step + inset, y + top))
        y += top + cell[1] + GAP
    return Layout((WRAP_AT * step - GAP, y - GAP), cell, scale, tuple(cells), tuple(headers), type)


def _rows(heads: list[list[Line]]) -> Iterator[list[list[Line]]]:
    return (heads[start : start + WRAP_AT] for start in range(0, len(heads), WRAP_AT))


def _type(labels: Sequence[str], cell: tuple[int, int]) -> tuple[Typesetter, int]:
    """Type that is sized to the cells, and the width of a column: a cell's, or a word's."""
    from pipelines.runs.lettering.typesetter import Typesetter

    type = Typesetter(max(13, min(30, cell[0] // 18)))
    word = round(type.widest_word(labels)) + 1 + 2 * SIDE
    return type, max(cell[0], min(word, COLUMN_MIN))


def _tall(lines: Sequence[Line]) -> int:
    return sum(line.height for line in lines)


def _height(heads: Sequence[Sequence[Line]]) -> int:
    most = max(_tall(lines) for lines in heads)
    return most + 2 * PADDING if most else 0
