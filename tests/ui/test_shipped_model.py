"""The page with the model that ships: an apple must look like one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from pipelines import Request, Studio
from presets import model_preset
from tests.ui import pages
from tests.ui.page_server import Site, start
from tests.ui.tabs.test_text_to_image import same

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Site]:
    studio = Studio(MODELS, tmp_path, device="cpu")
    site, stop = start(studio)
    yield site
    stop()
    studio.close()


def test_a_red_apple_is_red(browser: Browser, shipped: Site) -> None:
    page = browser.new_page()
    page.goto(shipped.url)
    pages.fix_seed(page, 3)
    page.get_by_role("button", name="a red apple", exact=True).click()
    pages.wait_status(page, "done", seconds=60)
    shown = pages.picture(page)
    preset = model_preset("emoji").defaults()
    request = Request(model="emoji", prompt="a red apple", seed=3, width=128, height=128, **preset)
    assert same(shown, shipped.studio.image(request))
    middle = shown.crop((40, 40, 88, 88)).resize((1, 1)).getpixel((0, 0))
    assert isinstance(middle, tuple)
    red, green, blue = middle[:3]
    assert red > 1.5 * green, "the middle of a red apple is red"
    assert red > 1.5 * blue
    page.close()
