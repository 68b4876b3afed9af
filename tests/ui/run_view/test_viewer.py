"""The viewer in all tabs: zoom in step, hide, winner, send to text to image, keys."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from pipelines import Request
from tests.ui.page_server import Site
from tests.ui.sheet_pages import cells, generate, headers, open_tab
from tests.ui.tabs.test_text_to_image import same


@pytest.fixture
def tab(page: Page, site: Site) -> Locator:
    """A finished sheet of two guidance scales and three seeds."""
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("guidance_scale=1, 7\nseed=3, 9, 4")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    return tab


def seen(page: Page, cell: Locator) -> Image.Image:
    """What stands in a cell on the screen."""
    return Image.open(io.BytesIO(cell.screenshot())).convert("RGB")


def likeness(
    screen: Image.Image, picture: Image.Image, corner: tuple[float, float], scale: float
) -> float:
    """The share of places on the screen that show the picture's own pixel there.

    Args:
        corner: where the shown part begins, in shares of the picture.
    """
    hits = 0
    places = [(i + 0.5) / 12 for i in range(12)]
    for x in places:
        for y in places:
            source = [
                int(picture.width * (c + p / scale)) for c, p in zip(corner, (x, y), strict=True)
            ]
            wanted = picture.getpixel((source[0], source[1]))
            found = screen.getpixel((int(x * screen.width), int(y * screen.height)))
            hits += max(abs(a - b) for a, b in zip(wanted, found, strict=True)) <= 3
    return hits / len(places) ** 2


def visible(tab: Locator) -> list[int]:
    """Numbers of the cells that are shown, from left to right and top to bottom."""
    return tab.locator(".cs-open").evaluate_all(
        """all => all.filter(one => one.offsetParent)
            .map(one => [one.getBoundingClientRect(), Number(one.dataset.index)])
            .sort(([a], [b]) => a.top - b.top || a.left - b.left).map(([, index]) => index)"""
    )


def test_all_pictures_zoom_in_step_about_the_pointer(page: Page, tab: Locator) -> None:
    tab.get_by_label("Size of the pictures").fill("128")
    shown = cells(page, tab)
    cell = tab.locator(".cs-open").nth(1)
    box = cell.bounding_box()
    assert box is not None
    # The middle of the picture's right lower quarter stays below the pointer.
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
    page.mouse.wheel(0, -60)
    expect(tab.get_by_role("button", name="100 %")).to_be_visible()  # a plain wheel scrolls
    box = cell.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
    page.keyboard.down("Control")
    for _ in range(4):
        page.mouse.wheel(0, -60)
    page.keyboard.up("Control")
    zoomed = tab.locator(".cs-zoom-tools button").nth(1)
    expect(zoomed).to_have_text("272 %")
    parts = tab.locator(".cs-open img").evaluate_all(
        """images => images.map(image => {
            const a = image.getBoundingClientRect();
            const b = image.parentNode.getBoundingClientRect();
            return [a.width / b.width, (b.left - a.left) / a.width, (b.top - a.top) / a.height]
                .map(number => Math.round(100 * number) / 100);
        })"""
    )
    assert all(part == parts[0] for part in parts), "every picture shows the same part"
    scale, left, top = parts[0]
    assert scale == pytest.approx(2.72, abs=0.06)
    assert left == top == pytest.approx(0.75 - 0.75 / 2.72, abs=0.02)
    # And that part of this very picture is what is seen.
    page.mouse.move(0, 0)
    for number in (1, 4):
        screen = seen(page, tab.locator(".cs-open").nth(number))
        assert likeness(screen, shown[number], (left, top), scale) > 0.85
        assert likeness(screen, shown[number + 1], (left, top), scale) < 0.5

    box = tab.locator(".cs-open").nth(1).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 60, steps=3)
    page.mouse.up()
    moved = tab.locator(".cs-open img").evaluate_all(
        "images => images.map(i => i.getBoundingClientRect().left"
        " - i.parentNode.getBoundingClientRect().left)"
    )
    assert len({round(one) for one in moved}) == 1 and moved[0] > -128 * scale * left
    expect(tab.get_by_role("dialog")).to_have_count(0)
    tab.locator(".cs-open").nth(0).dblclick()
    expect(zoomed).to_have_text("100 %")
    expect(tab.get_by_role("dialog")).to_have_count(0)


def test_rows_and_columns_can_be_hidden_and_come_back(page: Page, tab: Locator) -> None:
    tab.get_by_role("button", name="Hide seed 9").click()
    assert visible(tab) == [0, 2, 3, 5]
    tab.get_by_role("button", name="Hide guidance 1").click()
    assert visible(tab) == [3, 5]
    expect(tab.get_by_role("button", name="Hide guidance 7")).to_be_hidden()  # the last one stays
    tab.locator(".cs-open").nth(3).focus()
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.dataset.index")
    assert focused == "5", "arrow keys pass what is hidden"
    tab.get_by_role("button", name="Show 2 hidden").click()
    assert visible(tab) == [0, 1, 2, 3, 4, 5]
    assert headers(tab, "column") == ["seed 3", "seed 9", "seed 4"]


def test_the_winner_stays_with_the_run(page: Page, site: Site, tab: Locator) -> None:
    tab.locator(".cs-open").nth(4).focus()
    page.keyboard.press("w")
    star = tab.get_by_role("button", name="Winner: guidance 7, seed 9", exact=True)
    expect(star).to_have_attribute("aria-pressed", "true")
    tab.locator(".cs-cell").nth(2).hover()
    tab.get_by_role("button", name="Winner: guidance 1, seed 4", exact=True).click()
    expect(star).to_have_attribute("aria-pressed", "false")
    page.reload()
    page.get_by_role("tab", name="Sheet", exact=True).click()
    expect(tab.locator(".cs-cell[data-winner]")).to_have_count(1)
    assert tab.locator(".cs-cell").nth(2).get_attribute("data-winner") is not None
    with page.expect_download() as saved:
        tab.get_by_role("link", name="JSON", exact=True).click()
    assert json.loads(saved.value.path().read_text())["winner"] == [0, 2]
    run = site.newest_run().id
    stored = site.studio.store.run(run) if site.studio.store else None
    assert stored is not None and stored.winner == 2
    tab.locator(".cs-open").nth(2).focus()
    page.keyboard.press("w")
    expect(tab.locator(".cs-cell[data-winner]")).to_have_count(0)
    assert site.newest_run().snapshot().winner is None


def test_any_cell_can_be_sent_to_text_to_image(page: Page, site: Site, tab: Locator) -> None:
    tab.locator(".cs-open").nth(4).click()
    dialog = tab.get_by_role("dialog", name="Picture in full size")
    dialog.get_by_role("button", name="To text to image").click()
    target = page.locator("#text-to-image-tab")
    expect(target).to_be_visible()
    expect(target.get_by_label("Prompt", exact=True)).to_have_value("a red apple")
    expect(target.get_by_label("Guidance", exact=True)).to_have_value("7")
    expect(target.get_by_label("Seed number", exact=True)).to_have_value("9")
    generate(target)
    (picture,) = cells(page, target)
    request = Request(
        model="basic", prompt="a red apple", seed=9, steps=2, guidance_scale=7,
        width=32, height=32,
    )  # fmt: skip
    assert same(picture, site.studio.image(request))
    assert target.get_by_role("button", name="To text to image").count() == 0


def test_the_keys_of_the_grid(page: Page, tab: Locator) -> None:
    tab.locator(".cs-open").first.focus()
    expect(tab.locator(".cs-about")).to_contain_text("guidance 1, seed 3")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.dataset.index") == "2"
    expect(tab.locator(".cs-head-now")).to_have_text(["seed 4", "guidance 1"])
    page.keyboard.press("Enter")
    expect(tab.locator(".cs-chosen")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(tab.locator(".cs-chosen")).to_have_count(0)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    compared = tab.get_by_role("dialog", name="Two pictures compared")
    names = compared.locator(".cs-names p")
    expect(names).to_have_text(["Left: guidance 1, seed 4", "Right: guidance 7, seed 4"])
    page.keyboard.press("Escape")
    expect(compared).to_be_hidden()
    page.keyboard.press(" ")
    shown = tab.get_by_role("dialog", name="Picture in full size")
    expect(shown).to_contain_text("guidance 7, seed 4")
    page.keyboard.press("ArrowLeft")
    expect(shown).to_contain_text("guidance 7, seed 9")
    page.keyboard.press("Escape")
    expect(tab.locator(".cs-open").nth(4)).to_be_focused()
    # One stop for Tab, wherever one left.
    assert tab.locator('.cs-open[tabindex="0"]').count() == 1


def test_hovering_says_what_differs(page: Page, tab: Locator) -> None:
    about = tab.locator(".cs-about")
    expect(about).to_contain_text("double-click resets")
    tab.locator(".cs-open").nth(5).hover()
    expect(about).to_contain_text("guidance 7, seed 4")
    page.mouse.move(0, 0)
    expect(about).to_contain_text("double-click resets")
