"""The labelled grid: headers that fit and tell cells apart, and sizes that fit into memory."""

from __future__ import annotations

import itertools
from math import prod

import pytest
from PIL import Image

from pipelines import Axis, Request, Sheet
from pipelines.request.labels import value_text
from pipelines.runs.contact_sheet import GAP, Layout, draw_grid, lay_out
from pipelines.utils.images import GRID_PIXELS_MAX

LONG = "a photograph of a red apple on a wooden table in the soft evening light, " * 14


def sheet(**axes: object) -> Sheet:
    found = [Axis(field=name, values=tuple(values)) for name, values in axes.items()]  # type: ignore[arg-type]
    return Sheet(base=Request(prompt="an apple"), axes=tuple(found))


def grid(one: Sheet, side: int, **options: int) -> Layout:
    picture = Image.new("RGB", (side, side), "navy")
    return lay_out(one, [picture] * prod(one.shape), **options)


def said(layout: Layout) -> list[str]:
    """What each header says, its lines joined by blanks."""
    return [
        " ".join("".join(text for _, text, _ in line.runs) for line in lines)
        for lines, _ in layout.headers
    ]


SHEETS = {
    "long rows": sheet(prompt=[f"{LONG}cat", f"{LONG}dog", f"blue {LONG}", "short"], seed=[1, 2]),
    "long columns": sheet(seed=[1, 2], prompt=[f"{LONG}cat", f"{LONG}dog", "x" * 1000]),
    "one axis": sheet(prompt=[f"{LONG}{i}" for i in range(12)]),
    "many axes": sheet(
        guidance_scale=[1.5, 7.25], steps=[5, 150], negative_prompt=[LONG, f"{LONG}!"],
        sampler=["dpmpp_2m_sde", "euler_a"],
    ),
    "scripts": sheet(prompt=["crème", "красное", "红", "تفاحة حمراء", "แอปเปิ้ล"], seed=[1, 2]),
    "numbers": sheet(prompt=["9" * 40, "9" * 39 + "8"], seed=[1]),
    "one by one": sheet(seed=[3]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("side", [16, 64, 128, 512])
def test_every_header_stands_in_its_own_room(name: str, side: int) -> None:
    """Inside its box, which meets no other box and no cell, all of them on the page."""
    layout = grid(SHEETS[name], side)
    boxes = [box for lines, box in layout.headers if lines]
    for lines, (_, _, width, height) in layout.headers:
        assert all(line.width <= width for line in lines)
        assert sum(line.height for line in lines) <= height
    cells = [(x, y, side, side) for x, y in layout.cells]
    assert len(set(layout.cells)) == prod(SHEETS[name].shape)
    for (x, y, w, h), (u, v, a, b) in itertools.combinations([*boxes, *cells], 2):
        assert x + w <= u or u + a <= x or y + h <= v or v + b <= y
    for x, y, w, h in [*boxes, *cells]:
        assert x >= 0 and y >= 0 and x + w <= layout.size[0] and y + h <= layout.size[1]


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("side", [64, 128])
def test_no_two_rows_or_columns_are_called_the_same(name: str, side: int) -> None:
    found = said(grid(SHEETS[name], side))
    assert len(set(found)) == len(found), found


def test_the_word_that_differs_is_shown() -> None:
    found = said(grid(SHEETS["long rows"], 64))
    rows = [text for text in found if not text.startswith("seed")]
    assert all(
        word in text for word, text in zip(("cat", "dog", "blue", "short"), rows, strict=True)
    )


def test_a_row_is_as_high_as_its_label() -> None:
    layout = grid(SHEETS["long rows"], 16)
    tops = sorted({y for _, y in layout.cells})
    assert tops[1] - tops[0] > 6 * 13 and tops[-1] - tops[-2] < tops[1] - tops[0]
    short = grid(sheet(prompt=["a", "b", "c"], seed=[1, 2]), 64)
    assert sorted({y for _, y in short.cells})[1] - short.cells[0][1] == 64 + GAP


def test_values_that_differ_late_are_told_apart() -> None:
    assert value_text("guidance_scale", 7.0) == "7"
    assert value_text("guidance_scale", 7.0000001) == "7.0000001"
    assert value_text("prompt", " ") == "(blank)" and value_text("prompt", "") == "(empty)"


def test_a_grid_that_is_too_large_is_scaled_down() -> None:
    """50 × 50 cells of 1024² would be 2.7 gigapixels."""
    large = sheet(seed=range(50), steps=range(1, 51))
    layout = grid(large, 1024)
    assert GRID_PIXELS_MAX * 0.9 < prod(layout.size) <= GRID_PIXELS_MAX
    assert 0.15 < layout.scale < 0.25 and len(set(layout.cells)) == 2500
    whole = grid(sheet(seed=range(8), steps=range(1, 9)), 1024)
    assert (whole.scale, whole.cell) == (1.0, (1024, 1024))


def test_a_scaled_grid_shows_the_same_pictures() -> None:
    two = sheet(seed=[1, 2], steps=[5, 6])
    pictures = [Image.new("RGB", (200, 100), (60 * i, 10, 200)) for i in range(4)]
    layout = lay_out(two, pictures, pixels_max=20_000)
    page = layout.draw(pictures)
    assert prod(page.size) <= 20_000 and layout.scale < 1
    for i, (x, y) in enumerate(layout.cells):
        width, height = layout.cell
        assert abs(width / height - 2) < 0.1
        assert page.getpixel((x + width // 2, y + height // 2)) == (60 * i, 10, 200)
    assert draw_grid(two, pictures).size > page.size
