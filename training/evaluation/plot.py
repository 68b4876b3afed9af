"""The guidance table as a small picture: one panel a column, drawn with Pillow."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

PANEL, HEIGHT, EDGE = 240, 190, 34
INK, LINE, FAINT = (40, 40, 46), (65, 130, 240), (215, 215, 222)


def _text(value: float) -> str:
    return f"{value:.3g}"


def _panel(name: str, xs: Sequence[float], ys: Sequence[float], over: str) -> Image.Image:
    """One curve with its least and greatest values and a dot at every measurement."""
    picture = Image.new("RGB", (PANEL, HEIGHT), "white")
    canvas = ImageDraw.Draw(picture)
    left, right, top, bottom = EDGE + 6, PANEL - 12, EDGE - 6, HEIGHT - EDGE
    low, high = min(ys), max(ys)
    span = (high - low) or 1.0
    points = [
        (
            left + (right - left) * (x - xs[0]) / ((xs[-1] - xs[0]) or 1.0),
            bottom - (bottom - top) * (y - low) / span,
        )
        for x, y in zip(xs, ys, strict=True)
    ]
    for row, value in ((bottom, low), (top, high)):
        canvas.line([(left, row), (right, row)], fill=FAINT)
        canvas.text((left - 4, row), _text(value), fill=INK, anchor="rm")
    for column, value in ((left, xs[0]), (right, xs[-1])):
        canvas.text((column, bottom + 6), _text(value), fill=INK, anchor="mt")
    canvas.text(((left + right) / 2, HEIGHT - 4), over, fill=INK, anchor="mb")
    canvas.text((PANEL / 2, 6), name, fill=INK, anchor="mt")
    canvas.line(points, fill=LINE, width=2)
    for x, y in points:
        canvas.ellipse([x - 3, y - 3, x + 3, y + 3], fill=LINE)
    return picture


def plot_table(table: Sequence[dict[str, float]], over: str) -> Image.Image:
    """Every column of a table against the column `over`, side by side.

    Raises: ValueError: if the table has fewer than two rows.
    """
    if len(table) < 2:
        raise ValueError(f"a curve needs two rows or more; this table has {len(table)}")
    xs = [row[over] for row in table]
    names = [name for name in table[0] if name != over]
    whole = Image.new("RGB", (PANEL * len(names), HEIGHT), "white")
    for index, name in enumerate(names):
        whole.paste(_panel(name, xs, [row[name] for row in table], over), (PANEL * index, 0))
    return whole
