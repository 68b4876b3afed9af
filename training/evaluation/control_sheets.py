"""Rows of pictures under each other, each with its name at the left, for the model cards."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from pipelines.runs.contact_sheet import GAP, INK, PAPER

LEFT = 92
FONT_SIZE = 13


@dataclass(frozen=True)
class Row:
    """Pictures of one size, and what they are."""

    name: str
    pictures: Sequence[Image.Image]


def labelled(rows: Sequence[Row]) -> Image.Image:
    """Compose all rows on one page.

    Raises: ValueError: if they are not equally long.
    """
    columns = len(rows[0].pictures)
    if any(len(row.pictures) != columns for row in rows):
        raise ValueError(f"rows of {[len(row.pictures) for row in rows]} pictures; make them equal")
    width, height = rows[0].pictures[0].size
    size = (LEFT + columns * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP)
    page = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_SIZE)
    for number, row in enumerate(rows):
        y = number * (height + GAP)
        pen.multiline_text((4, y + height // 2), row.name, INK, font, anchor="lm")
        for column, picture in enumerate(row.pictures):
            page.paste(picture.convert("RGB"), (LEFT + column * (width + GAP), y))
    return page
