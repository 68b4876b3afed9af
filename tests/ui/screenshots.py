"""Takes the pictures of the page for the README: python -m tests.ui.screenshots docs/images

It serves the shipped models itself and uses a browser as the tests do.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from pipelines import Studio
from presets import model_preset
from tests.ui import pages
from tests.ui.serving import FLAGS, chromium, start

MODELS = Path(__file__).parents[2] / "models"


def shoot(page: Page, path: Path) -> None:
    """The page from its top, nothing hovered."""
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.screenshot(path=path)


def shoot_controls(page: Page, path: Path) -> None:
    """The ControlNet tab: a pose with its arm moved by hand, and what was made with it."""
    page.get_by_role("tab", name="ControlNet", exact=True).click()
    tab = page.locator(".cs-tab:visible")
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
    tab.locator('.cs-run[data-status="done"]').wait_for(timeout=120_000)
    tab.locator("#controlnet-result figure img").last.wait_for()
    page.wait_for_timeout(1000)
    page.mouse.move(0, 0)
    page.screenshot(path=path, full_page=True)


def take(folder: Path) -> None:
    """One file a tab and colour scheme: `text-to-image-light.png`, `samplers-dark.png`, …"""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as outputs, sync_playwright() as playwright:
        studio = Studio(MODELS, outputs)
        site, stop = start(studio)
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1440, "height": 1010},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.goto(site.url)
            # Backwards, so that the page ends on the first.
            for seed, prompt in enumerate(reversed(model_preset("emoji").examples), start=1):
                pages.fill(page, Prompt=prompt, Pictures=4)
                pages.fix_seed(page, seed)
                pages.generate(page)
                current = page.locator(".cs-recent[aria-current]", has_text=prompt)
                current.locator("img").wait_for(timeout=120_000)
            page.wait_for_timeout(500)
            shoot(page, folder / f"text-to-image-{scheme}.png")
            page.get_by_role("tab", name="Sheet", exact=True).click()
            tab = page.locator(".cs-tab:visible")
            tab.get_by_role("button", name="Guidance against seeds").click()
            tab.locator('.cs-run[data-status="done"]').wait_for(timeout=120_000)
            page.wait_for_timeout(500)
            shoot(page, folder / f"sheet-{scheme}.png")
            page.get_by_role("tab", name="Samplers", exact=True).click()
            tab.get_by_label("Prompt", exact=True).fill("a red apple")
            pages.generate(page)
            page.get_by_role("button", name="Measure the distance").click(timeout=240_000)
            page.get_by_text("Measured order").wait_for(timeout=240_000)
            page.wait_for_timeout(1000)
            page.mouse.move(0, 0)
            page.screenshot(path=folder / f"samplers-{scheme}.png", full_page=True)
            shoot_controls(page, folder / f"controlnet-{scheme}.png")
            page.close()
        browser.close()
        stop()
        studio.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
