"""What a person does on the ControlNet tab, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, expect

from pipelines import Request
from tests.ui.page_server import PATIENCE_MS, Site
from tests.ui.sheet_pages import open_tab

SIZE = (32, 32)


def save_square(folder: Path) -> Path:
    """A grey square on white, with edges where they are easy to name."""
    image = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(image).rectangle((24, 24, 71, 71), fill="#444444")
    file = folder / "square.png"
    image.save(file)
    return file


def open_controls(page: Page) -> Locator:
    tab = open_tab(page, "ControlNet")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    return tab


def generate(tab: Locator) -> None:
    """Press Generate and wait for the new run, not for one that is there already."""
    run = tab.locator(".cs-run")
    before = run.get_attribute("data-run")
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(run).not_to_have_attribute("data-run", before or "", timeout=PATIENCE_MS)
    expect(run).to_have_attribute("data-status", "done", timeout=PATIENCE_MS)


def upload(tab: Locator, file: Path, number: int = 1) -> None:
    tab.locator(f"#controlnet-picture-{number} input[type=file]").set_input_files(file)


def editor(tab: Locator, number: int = 1) -> Locator:
    return tab.locator(f"#controlnet-editor-{number} .cs-editor")


def ready(tab: Locator, kind: str, number: int = 1) -> Locator:
    found = tab.locator(
        f'#controlnet-editor-{number} .cs-editor[data-state="ready"][data-kind="{kind}"]'
    )
    found.wait_for()
    return found


def map_shown(tab: Locator, number: int = 1) -> np.ndarray[Any, Any]:
    """The pixels of the map in the editor."""
    data = editor(tab, number).locator("canvas").evaluate(
        "map => [map.width, map.height, ...map.getContext('2d')"
        ".getImageData(0, 0, map.width, map.height).data]"
    )  # fmt: skip
    return np.asarray(data[2:], np.uint8).reshape(data[1], data[0], 4)[..., :3]


def drag(page: Page, tab: Locator, *places: tuple[float, float]) -> None:
    """On the map, in shares of it."""
    canvas = editor(tab).locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def edited(page: Page, act: Any) -> None:
    """Do something to the map and wait until the server has it."""
    with page.expect_response(lambda answer: "/run/predict" in answer.url or "queue" in answer.url):
        act()
    page.wait_for_timeout(150)


def last_request(site: Site) -> Request:
    request: Request = site.newest_run().requests[0]
    return request


def generate_refused(tab: Locator, message: str) -> None:
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(tab.locator("#controlnet-problem")).to_contain_text(message)
