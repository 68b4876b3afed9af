"""Takes the pictures of the page for the README: python -m tests.ui.screenshots docs/images

It serves the shipped models itself and uses a browser as the tests do.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from pipelines import Studio
from presets import model_preset
from tests.ui import pages
from tests.ui.page_server import FLAGS, READY, chromium, start

MODELS = Path(__file__).parents[2] / "models"
PATIENCE_MS = 300_000
SWEPT = "a rocket, flat style, on a blue background"


def save(page: Page, path: Path, *, whole: bool = False) -> None:
    """The page from its top, nothing hovered; `whole`: down to its end."""
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    taken = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
    taken.convert("RGB").save(path, optimize=True)


def open_tab(page: Page, name: str) -> Locator:
    page.get_by_role("tab", name=name, exact=True).click()
    return page.locator(".cs-tab:visible")


def made(tab: Locator) -> None:
    tab.locator('.cs-run[data-status="done"]').first.wait_for(timeout=PATIENCE_MS)


def shoot_pictures(page: Page, path: Path) -> None:
    """The text-to-image tab, each example made once."""
    # Backwards, so that the page ends on the first.
    for seed, prompt in enumerate(reversed(model_preset("emoji").examples), start=1):
        pages.fill(page, Prompt=prompt, Pictures=4)
        pages.fix_seed(page, seed)
        pages.generate(page)
        current = page.locator(".cs-recent[aria-current]", has_text=prompt)
        current.locator("img").wait_for(timeout=PATIENCE_MS)
    save(page, path)


def shoot_sweep(page: Page, path: Path) -> None:
    """The guidance tab with its curves below."""
    tab = open_tab(page, "Guidance")
    tab.get_by_label("Prompt", exact=True).fill(SWEPT)
    tab.get_by_label("Fixed", exact=True).check()
    tab.get_by_label("Seed number", exact=True).fill("2")
    tab.get_by_role("button", name="Generate", exact=True).click()
    made(tab)
    page.locator("#guidance-curves svg").first.wait_for(timeout=PATIENCE_MS)
    save(page, path, whole=True)


def shoot_sheet(page: Page, path: Path) -> None:
    """The sheet tab with one of its examples."""
    tab = open_tab(page, "Sheet")
    tab.get_by_role("button", name="Guidance against seeds").click()
    made(tab)
    save(page, path)


def shoot_samplers(page: Page, path: Path) -> None:
    """The sampler tab, its distances measured."""
    page.set_viewport_size({"width": 1440, "height": 1200})  # so that no row is cut
    tab = open_tab(page, "Samplers")
    tab.get_by_label("Prompt", exact=True).fill("a red apple")
    tab.get_by_role("button", name="Generate", exact=True).click()
    tab.get_by_role("button", name="Measure the distance").click(timeout=PATIENCE_MS)
    tab.get_by_text("Measured order").wait_for(timeout=PATIENCE_MS)
    save(page, path, whole=True)


def shoot_controls(page: Page, path: Path) -> None:
    """The ControlNet tab: a pose with its arm moved by hand, and what was made with it."""
    tab = open_tab(page, "ControlNet")
    tab.locator(".cs-thumbs").first.locator("button").first.click()
    hand = tab.get_by_role("button", name="Joint: left wrist")
    hand.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        hand.press(f"Shift+{key}")
    tab.get_by_label("Prompt", exact=True).fill("a person pointing, red shirt, blue trousers")
    tab.get_by_label("Strength 1").fill("0, 1")
    tab.get_by_label("Fixed", exact=True).check()
    tab.get_by_label("Seed number", exact=True).fill("1")
    tab.get_by_role("button", name="Generate", exact=True).click()
    made(tab)
    tab.locator("#controlnet-result figure img").last.wait_for()
    save(page, path, whole=True)


SHOTS = {
    "controlnet": shoot_controls,
    "guidance": shoot_sweep,
    "sheet": shoot_sheet,
    "samplers": shoot_samplers,
    "text-to-image": shoot_pictures,
}


def take(folder: Path) -> None:
    """One file a tab: `text-to-image-light.png`, `samplers-light.png`, …"""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as outputs, sync_playwright() as playwright:
        studio = Studio(MODELS, outputs)
        site, stop = start(studio)
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name, shoot in SHOTS.items():
            page = browser.new_page(viewport={"width": 1440, "height": 1010}, color_scheme="light")
            page.goto(site.url)
            page.wait_for_selector(READY, state="attached", timeout=PATIENCE_MS)
            shoot(page, folder / f"{name}-light.png")
            page.close()
        browser.close()
        stop()
        studio.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
